//! What became of sessions, told to the broker in batches.
//!
//! Never makes a session wait: a report is a note in memory, and one task carries the notes away. Invariant: at most
//! [`KEPT`] notes are kept while the broker is away; then the oldest are lost, and that is logged. Next: `broker`.

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use token_broker_client::v1::{SessionEndReason, SessionReport, UpstreamLogin};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::broker::{BATCH, Broker, BrokerError};
use crate::relay::Traffic;
use crate::tasks::Tasks;

/// Most reports kept for a broker that is away.
const KEPT: usize = 20_000;
/// How often ends are told.
const ENDS: Duration = Duration::from_secs(1);
/// How often a living session's use is told, which is also how the broker knows that it lives.
const USE: Duration = Duration::from_secs(60);
/// How often the broker is asked whether it is there.
const PROBE: Duration = Duration::from_secs(5);

/// The notes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Reporter(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    live: HashMap<String, Used>,
    pending: VecDeque<SessionReport>,
    lost: u64,
}

#[derive(Debug, Default)]
struct Used {
    traffic: Arc<Traffic>,
    up: u64,
    down: u64,
}

/// A session that is relayed; its end is noted when this is dropped.
#[derive(Debug)]
pub struct LiveSession {
    reporter: Reporter,
    id: String,
    traffic: Arc<Traffic>,
    end: SessionEndReason,
}

impl LiveSession {
    /// Why it ends; said before it is dropped.
    pub fn ends(&mut self, why: SessionEndReason) {
        self.end = why;
    }

    /// What it has carried.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        let mut ledger = self.reporter.lock();
        if let Some(mut used) = ledger.live.remove(&self.id) {
            let mut report = used.report(&self.id, true);
            report.set_end_reason(self.end);
            ledger.note(report);
        }
    }
}

impl Reporter {
    /// A session's upstream login worked.
    pub fn began(&self, id: &str) -> LiveSession {
        let traffic = Arc::new(Traffic::default());
        let used = Used { traffic: Arc::clone(&traffic), up: 0, down: 0 };
        let mut ledger = self.lock();
        let mut report = SessionReport { session: id.to_owned(), ..Default::default() };
        report.set_login(UpstreamLogin::Accepted);
        ledger.note(report);
        ledger.live.insert(id.to_owned(), used);
        let end = SessionEndReason::Broken;
        LiveSession { reporter: self.clone(), id: id.to_owned(), traffic, end }
    }

    /// A session's upstream login did not work; that is its end.
    pub fn failed(&self, id: &str, login: UpstreamLogin) {
        let mut report =
            SessionReport { session: id.to_owned(), ended: true, ..Default::default() };
        report.set_login(login);
        report.set_end_reason(SessionEndReason::NoLogin);
        self.lock().note(report);
    }

    /// Carries the notes to the broker until told to stop. The broker is also asked from time to time whether it is there, so
    /// that health is right even when nobody logs in.
    pub async fn run(self, broker: Broker, tasks: Tasks) {
        let (mut used, mut asked) = (Instant::now(), Instant::now());
        self.probe(&broker).await;
        while !tasks.is_stopping() {
            tokio::select! {
                () = sleep(ENDS) => {}
                () = tasks.stopping() => return,
            }
            if used.elapsed() >= USE {
                used = Instant::now();
                self.lock().note_use();
            }
            if asked.elapsed() >= PROBE {
                asked = Instant::now();
                self.probe(&broker).await;
            }
            if broker.is_there() {
                self.flush(&broker).await;
            }
        }
    }

    /// Sends what there is; false if the broker did not take all of it.
    async fn flush(&self, broker: &Broker) -> bool {
        loop {
            let batch = self.lock().batch();
            if batch.is_empty() {
                return true;
            }
            if let Err(error) = broker.report_sessions(batch.clone()).await {
                self.not_taken(batch, &error);
                return false;
            }
        }
    }

    /// Keeps what can be told later.
    fn not_taken(&self, mut batch: Vec<SessionReport>, error: &BrokerError) {
        if matches!(error, BrokerError::Refused(_)) {
            warn!(%error, reports = batch.len(), "the broker will not take reports");
            return;
        }
        debug!(%error, "reports wait");
        if error.may_be_done() {
            // An end said twice does no harm, bytes counted twice would.
            for report in &mut batch {
                (report.bytes_up, report.bytes_down) = (0, 0);
            }
        }
        self.lock().put_back(batch);
    }

    /// The last words at a stop.
    pub(crate) async fn finish(&self, broker: &Broker) {
        if !matches!(timeout(Duration::from_secs(5), self.flush(broker)).await, Ok(true)) {
            warn!(reports = self.lock().pending.len(), "the broker will not hear of some sessions");
        }
    }

    async fn probe(&self, broker: &Broker) {
        if let Err(error) = broker.report_sessions(vec![]).await {
            warn!(%error, "the broker is away");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn note(&mut self, report: SessionReport) {
        if self.pending.len() >= KEPT {
            self.pending.pop_front();
            self.lost += 1;
        }
        self.pending.push_back(report);
    }

    fn note_use(&mut self) {
        if take(&mut self.lost) > 0 {
            warn!("reports of sessions were lost while the broker was away");
        }
        let reports: Vec<_> =
            self.live.iter_mut().map(|(id, used)| used.report(id, false)).collect();
        for report in reports {
            self.note(report);
        }
    }

    fn batch(&mut self) -> Vec<SessionReport> {
        let count = self.pending.len().min(BATCH);
        self.pending.drain(..count).collect()
    }

    fn put_back(&mut self, batch: Vec<SessionReport>) {
        for report in batch.into_iter().rev().take(KEPT.saturating_sub(self.pending.len())) {
            self.pending.push_front(report);
        }
    }
}

impl Used {
    /// What was carried since the last report.
    fn report(&mut self, id: &str, ended: bool) -> SessionReport {
        let (up, down) = (self.traffic.up(), self.traffic.down());
        let (since_up, since_down) = (up - self.up, down - self.down);
        (self.up, self.down) = (up, down);
        let mut report = SessionReport {
            session: id.to_owned(),
            bytes_up: since_up,
            bytes_down: since_down,
            ended,
            ..Default::default()
        };
        report.set_login(UpstreamLogin::Accepted);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_of_at_its_begin_and_its_end() {
        let reporter = Reporter::default();
        drop(reporter.began("s1"));
        reporter.failed("s2", UpstreamLogin::Refused);
        let batch = reporter.lock().batch();
        let told: Vec<_> = batch.iter().map(|r| (r.session.as_str(), r.ended)).collect();
        assert_eq!(told, [("s1", false), ("s1", true), ("s2", true)]);
    }

    #[test]
    fn a_living_session_is_told_of_even_if_nothing_flowed() {
        let reporter = Reporter::default();
        let _session = reporter.began("s1");
        reporter.lock().batch();
        reporter.lock().note_use();
        assert_eq!(reporter.lock().batch().len(), 1);
    }

    #[test]
    fn what_was_not_taken_is_told_again_in_order_and_within_bounds() {
        let reporter = Reporter::default();
        for session in 0..KEPT + 10 {
            reporter.failed(&session.to_string(), UpstreamLogin::Refused);
        }
        let batch = reporter.lock().batch();
        assert_eq!((batch.len(), batch[0].session.as_str()), (BATCH, "10"));
        reporter.lock().put_back(batch.clone());
        assert_eq!(reporter.lock().batch(), batch);
        assert!(reporter.lock().pending.len() <= KEPT);
    }
}
