//! The decision lane: what is handed out is judged once more, recorded and committed, in groups (promises P1 and P3).
//!
//! A decision comes with what it was made on: rows that may be remembered, each with the epoch it was seen at. The lane
//! gathers what has come while it committed, opens one transaction on the primary after the last of them came, reads the
//! rights epoch there and what changed, and sends back what was made on something that has changed since. The others'
//! records go in together, and who waits is answered after the commit. A change of rights raises the epoch in its own
//! transaction and is acknowledged after that one's commit, so whatever comes later is judged knowing it: no lock is needed,
//! by one broker or by many, and none is taken.
//! Never waits for more to come. Invariants: no answer before the commit; a group that fails hands out nothing; a decision
//! that cannot be written fails alone; the queue is bounded, and who finds it full is told at once.
//! Next: `group.rs` judges and writes a group; `service/decide.rs` brings the decisions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use super::changes::{Changes, Sight};
use super::desk::Desk;
use super::engine::Conn;
use super::error::{Error, Result};
use super::group::{look, transact};
use super::lowest::Lowest;
use super::pending::Head;
use crate::domain::credential::Limits;
use crate::domain::event::Event;
use crate::domain::session::MailSession;
use crate::telemetry::metrics;

/// Decisions that may wait; more are refused with [`Error::Busy`].
const QUEUE: usize = 4096;
/// Decisions that share one transaction.
const GROUP: usize = 512;
/// How often a group is begun again that lost a race with another writer.
const TRIES: usize = 4;
/// How long ago the epoch may have been looked at for an answer before the commit, where that is allowed.
pub const RELAXED_LAG: Duration = Duration::from_millis(50);

/// What is to be handed out or refused, and on what that was decided.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Everything that was looked at.
    pub basis: Vec<Sight>,
    /// The record of it.
    pub event: Event,
    /// The session that it opens.
    pub opening: Option<Opening>,
}

/// A session that is to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The session.
    pub session: MailSession,
    /// How much its credential may be used.
    pub limits: Limits,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands and is recorded.
    Stands,
    /// Something it was made on has changed: decide again. Nothing was recorded.
    Overtaken,
    /// The session would be one too many. Nothing was recorded.
    Limited,
}

/// How the lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The rights epoch up to which this broker knows all changes.
    pub known_epoch: i64,
    /// Decisions that wait now.
    pub waiting: usize,
    /// Decisions that may wait.
    pub room: usize,
    /// How long the last group took to commit.
    pub last_commit: Duration,
    /// The chain of this broker's records.
    pub chain: String,
}

/// How the lane judges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether the epoch is looked at; a test leaves that out, to see what it is for.
    pub(super) heeds_epoch: bool,
    /// How old that look may be for an answer before the commit.
    pub(super) relaxed_lag: Duration,
}

/// The way into the lane.
#[derive(Clone)]
pub(super) struct Lane {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

/// What the lane and those who use it both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) changes: Changes,
    pub(super) rules: Rules,
    pub(super) chain: String,
    born: Instant,
    /// When the epoch was last looked at, in microseconds since then; 0 for never.
    looked: AtomicU64,
    /// How long the last group took, in microseconds.
    took: AtomicU64,
    /// How long the quickest one took of late.
    quickest: Lowest,
}

/// A decision in the queue; nobody waits for its end in the relaxed mode.
pub(super) struct Waiting {
    pub(super) decision: Box<Decision>,
    answer: Option<oneshot::Sender<Result<Verdict>>>,
    pub(super) verdict: Verdict,
}

/// The other end of the queue.
pub(super) struct Clerk {
    pub(super) desk: Arc<Mutex<Desk>>,
    pub(super) queue: mpsc::Receiver<Waiting>,
    pub(super) shared: Arc<Shared>,
    /// Where the chain ends, if that is known.
    pub(super) head: Option<Head>,
}

/// A lane whose records go to `chain`, and who works it. All changes up to `epoch` are known.
pub(super) fn lane(
    desk: Arc<Mutex<Desk>>,
    (chain, epoch): (String, i64),
    rules: Rules,
) -> (Lane, Clerk) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared {
        changes: Changes::beginning_at(epoch),
        rules,
        chain,
        born: Instant::now(),
        looked: AtomicU64::new(0),
        took: AtomicU64::new(0),
        quickest: Lowest::new(),
    });
    let clerk = Clerk { desk, queue, shared: Arc::clone(&shared), head: None };
    (Lane { queue: sender, shared }, clerk)
}

impl Lane {
    /// See [`Store::decide`](super::Store::decide).
    pub(super) async fn decide(&self, decision: Box<Decision>) -> Result<Verdict> {
        let (answer, end) = oneshot::channel();
        self.enter(decision, Some(answer))?;
        end.await.unwrap_or(Err(Error::Unreachable { why: "the lane ended".into() }))
    }

    /// See [`Store::decide_relaxed`](super::Store::decide_relaxed).
    pub(super) async fn decide_relaxed(&self, decision: Box<Decision>) -> Result<Verdict> {
        let now = self.shared.now();
        let looked = self.shared.looked.load(Ordering::Acquire);
        // The more wait, the longer a crash reaches back: from here on everybody waits for the commit.
        let late = self.queue.capacity() < QUEUE / 2;
        if late || looked == 0 || now.saturating_sub(looked) > micros(self.shared.rules.relaxed_lag)
        {
            return self.decide(decision).await;
        }
        if !decision.basis.iter().all(|sight| self.shared.changes.holds(*sight)) {
            return Ok(Verdict::Overtaken);
        }
        self.enter(decision, None).map(|()| Verdict::Stands)
    }

    /// Looks at the epoch over a connection of one's own.
    pub(super) async fn look(&self, conn: &mut Conn) -> Result<()> {
        if self.shared.rules.heeds_epoch { look(conn, &self.shared.changes).await } else { Ok(()) }
    }

    /// How long the quickest group took of late, unless whoever comes now would be refused.
    pub(super) fn commit_time(&self) -> Option<Duration> {
        let quickest = Duration::from_micros(self.shared.quickest.get().unwrap_or_default());
        (self.queue.capacity() > 0).then_some(quickest)
    }

    /// What is known of the epoch.
    pub(super) fn changes(&self) -> &Changes {
        &self.shared.changes
    }

    /// How it is doing.
    pub(super) fn state(&self) -> LaneState {
        LaneState {
            known_epoch: self.shared.changes.known(),
            waiting: QUEUE - self.queue.capacity(),
            room: QUEUE,
            last_commit: Duration::from_micros(self.shared.took.load(Ordering::Relaxed)),
            chain: self.shared.chain.clone(),
        }
    }

    fn enter(
        &self,
        decision: Box<Decision>,
        answer: Option<oneshot::Sender<Result<Verdict>>>,
    ) -> Result<()> {
        let waiting = Waiting { decision, answer, verdict: Verdict::Overtaken };
        self.queue.try_send(waiting).map_err(|_| Error::Busy)
    }
}

impl Shared {
    fn now(&self) -> u64 {
        micros(self.born.elapsed())
    }
}

impl Clerk {
    /// Commits groups until it is told to stop, then what is queued.
    pub(super) async fn serve(mut self, stopping: impl Future<Output = ()>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut stopping = std::pin::pin!(stopping);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping, if !self.queue.is_closed() => { self.queue.close(); continue }
                taken = self.queue.recv_many(&mut group, GROUP) => if taken == 0 { break },
            }
            self.settle(&mut group).await;
        }
    }

    /// Brings a group to its end. If a decision in it cannot be written, the others are committed without it.
    async fn settle(&mut self, group: &mut Vec<Waiting>) {
        let mut parts = vec![std::mem::take(group)];
        while let Some(mut part) = parts.pop() {
            let end = self.commit(&mut part).await;
            if part.len() > 1 && end.as_ref().is_err_and(is_of_one) {
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
                continue;
            }
            for waiting in part.drain(..) {
                waiting.answer(&end);
            }
            if parts.is_empty() {
                *group = part;
            }
        }
    }

    async fn commit(&mut self, group: &mut Vec<Waiting>) -> Result<()> {
        let desk = Arc::clone(&self.desk);
        let mut desk = desk.lock().await;
        // Whoever came while the other writer sat here comes along.
        while group.len() < GROUP
            && let Ok(waiting) = self.queue.try_recv()
        {
            group.push(waiting);
        }
        let began = Instant::now();
        for tried in 1.. {
            let shared = Arc::clone(&self.shared);
            let looked = shared.now();
            let (head, part) = (&mut self.head, group.as_mut_slice());
            let end = desk.work(|conn| transact(conn, &shared, head, part)).await;
            if end.is_ok() {
                shared.looked.store(looked.max(1), Ordering::Release);
                let took = micros(began.elapsed());
                shared.took.store(took, Ordering::Relaxed);
                shared.quickest.note(took, shared.now());
                metrics::decided(group.len(), self.queue.len(), began.elapsed());
                return Ok(());
            }
            self.head = None;
            let raced =
                matches!(end, Err(Error::Busy | Error::Stale { .. } | Error::Conflict { .. }));
            if !raced || tried == TRIES {
                return end;
            }
        }
        Ok(())
    }
}

impl Waiting {
    /// Whether it was answered already, in the relaxed mode.
    pub(super) fn is_answered(&self) -> bool {
        self.answer.is_none()
    }

    fn answer(self, group: &Result<()>) {
        let end = group.clone().map(|()| self.verdict);
        if end == Ok(Verdict::Overtaken) {
            metrics::overtaken();
        }
        match (self.answer, end) {
            // It may have left; its record is as true as before.
            (Some(answer), end) => drop(answer.send(end)),
            (None, Ok(Verdict::Stands)) => {}
            (None, end) => {
                let (account, actor) = (&self.decision.event.account, &self.decision.event.actor);
                tracing::error!(%account, %actor, ?end,
                    "relaxed mode: something was handed out and could not be recorded");
            }
        }
    }
}

/// Whether one decision of a group can be the reason that all of it failed.
fn is_of_one(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused { .. } | Error::Dangling { .. } | Error::Conflict { .. } | Error::Panicked
    )
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lane({} waiting)", QUEUE - self.queue.capacity())
    }
}
