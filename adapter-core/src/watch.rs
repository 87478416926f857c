//! Watches, at the broker, which of the sessions here have to end; and ends all of them if no broker was heard of for too long.
//!
//! Never asks about a session and never decides about one. Invariants: a cursor is kept only after everything up to it was told
//! to the sessions; silence for `orphan_ttl` ends them all (promise P2), whatever the reason for it is.
//! Next: `register` tells the sessions, `relay` ends them.

mod register;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use token_broker_client::v1::{SessionEndReason, WatchRevocationsResponse};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

pub use register::{Register, Watched};

use crate::broker::{Broker, BrokerError};
use crate::dialogue::Farewell;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// The pause before watching again doubles between these; half of it is chance, so that adapters do not come in step.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Watches.
#[derive(Clone)]
pub(crate) struct Watch {
    broker: Broker,
    register: Register,
    metrics: Metrics,
    tasks: Tasks,
    orphan_ttl: Duration,
    heard: watch::Sender<Instant>,
}

/// How a watch went.
enum End {
    /// It never began, or broke.
    Broken(BrokerError),
    /// The broker ended it in peace.
    Peace,
}

impl Watch {
    /// Nothing is watched yet.
    pub(crate) fn new(
        broker: Broker,
        register: Register,
        (metrics, tasks): (Metrics, Tasks),
        orphan_ttl: Duration,
    ) -> Self {
        let heard = watch::Sender::new(Instant::now());
        Self { broker, register, metrics, tasks, orphan_ttl, heard }
    }

    /// Watches until the adapter stops.
    pub(crate) async fn run(self) {
        let (mut cursor, mut pause) = (String::new(), PAUSE.0);
        let mut quiet = false;
        loop {
            let begun = *self.heard.borrow();
            let end = tokio::select! {
                () = self.tasks.stopping() => return,
                end = self.follow(&mut cursor) => end,
            };
            self.metrics.watching(false);
            if *self.heard.borrow() > begun {
                (pause, quiet) = (PAUSE.0, false);
            }
            if let End::Broken(error) = end {
                self.broken(&error, quiet);
                quiet = true;
                pause = (pause * 2).min(PAUSE.1);
            }
            tokio::select! {
                () = self.tasks.stopping() => return,
                () = sleep(jittered(pause)) => {}
            }
        }
    }

    /// Ends all sessions whenever nothing was heard for too long, until the adapter stops.
    pub(crate) async fn guard(self) {
        let mut heard = self.heard.subscribe();
        loop {
            let until = *heard.borrow_and_update() + self.orphan_ttl;
            tokio::select! {
                biased;
                () = self.tasks.stopping() => return,
                _ = heard.changed() => continue,
                () = sleep_until(until) => {}
            }
            let sessions = self.register.close();
            warn!(sessions, after = ?self.orphan_ttl, "no broker was heard of: all sessions end");
            tokio::select! {
                () = self.tasks.stopping() => return,
                _ = heard.changed() => {}
            }
            self.register.reopen();
            info!("a broker is heard of again");
        }
    }

    async fn follow(&self, cursor: &mut String) -> End {
        let begun = self.broker.watch_revocations(cursor).await;
        let mut stream = match begun {
            Ok(stream) => stream,
            Err(error) => {
                self.refused(&error);
                return End::Broken(error);
            }
        };
        loop {
            match stream.next().await {
                Ok(Some(message)) => self.heed(message, cursor),
                Ok(None) => return End::Peace,
                Err(error) => return End::Broken(error.into()),
            }
        }
    }

    fn heed(&self, message: WatchRevocationsResponse, cursor: &mut String) {
        for end in message.ends {
            let why = farewell(end.reason());
            let here = self.register.end(&end.session, why);
            if here {
                info!(session = end.session, ?why, "the broker ends a session");
            }
        }
        if let Some(checkpoint) = message.checkpoint {
            *cursor = checkpoint.cursor;
            self.hear();
        }
    }

    fn hear(&self) {
        self.heard.send_replace(Instant::now());
        self.metrics.watching(true);
    }

    /// A watch that could not begin.
    fn refused(&self, error: &BrokerError) {
        if matches!(error, BrokerError::Forbidden(_)) {
            let sessions = self.register.end_all(Farewell::Revoked);
            if sessions > 0 {
                warn!(sessions, %error, "this adapter may not any more: all sessions end");
            }
        }
        if error.is_unknown_call() {
            // A broker of before this call: it cannot end sessions, but it is there.
            self.hear();
        }
    }

    fn broken(&self, error: &BrokerError, quiet: bool) {
        if quiet {
            debug!(%error, "still not watching for revocations");
        } else {
            warn!(%error, orphan_ttl = ?self.orphan_ttl, "not watching for revocations");
        }
    }
}

/// What a session is told for a reason of the contract. One of a later contract ends it too.
fn farewell(reason: SessionEndReason) -> Farewell {
    match reason {
        SessionEndReason::NeedsConsent => Farewell::NeedsConsent,
        SessionEndReason::ContactAdmin => Farewell::ContactAdmin,
        SessionEndReason::Operator => Farewell::Operator,
        _ => Farewell::Revoked,
    }
}

/// Between half and all of it.
fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 1000;
    let half = pause / 2;
    half + half.mul_f64(f64::from(u32::try_from(chance).unwrap_or(0)) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_a_later_contract_ends_a_session_too() {
        assert_eq!(farewell(SessionEndReason::Unspecified), Farewell::Revoked);
        assert_eq!(farewell(SessionEndReason::Operator), Farewell::Operator);
    }

    #[test]
    fn pauses_differ_and_stay_within_their_bounds() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(PAUSE.1)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE.1 / 2..=PAUSE.1).contains(pause)), "{pauses:?}");
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
