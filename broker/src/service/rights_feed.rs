//! The rights epoch as it moves, for all who watch it in this broker: one look serves them all.
//!
//! Never the truth about rights, only about whether some changed. Invariant: while somebody watches, the database is looked at
//! at least ten times a second, and nobody is told anything that was not read from it; the bell only makes it sooner.
//! Next: `watch_revocations.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::service::Service;
use crate::telemetry::metrics;

/// Between two looks that nothing called for.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at least, however often it rings.
const BREATH: Duration = Duration::from_millis(5);
/// Adapters that may watch one broker; each costs a few statements a second.
const WATCHERS: usize = 1024;

/// What the last look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The epoch.
    pub(super) epoch: i64,
    /// When.
    pub(super) at: Instant,
}

/// The feed. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct RightsFeed {
    seen: watch::Sender<Option<Seen>>,
    room: Arc<Semaphore>,
}

/// One who watches.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) seen: watch::Receiver<Option<Seen>>,
    _place: OwnedSemaphorePermit,
}

impl Default for RightsFeed {
    fn default() -> Self {
        Self { seen: watch::channel(None).0, room: Arc::new(Semaphore::new(WATCHERS)) }
    }
}

impl RightsFeed {
    /// Joins; `None` if there is no room.
    pub(super) fn subscribe(&self) -> Option<Subscription> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Subscription { seen: self.seen.subscribe(), _place: place })
    }
}

impl Service {
    /// Looks at the rights epoch for all who watch, until the tasks stop. Runs once in each broker.
    pub async fn follow_rights(self) {
        let mut stopping = std::pin::pin!(self.parts.tasks.stopping());
        loop {
            tokio::select! {
                () = &mut stopping => return,
                () = self.parts.bell.rung_for_rights() => {}
                () = sleep(LOOK) => {}
            }
            let watchers = self.rights.seen.receiver_count();
            metrics::watchers(watchers);
            if watchers > 0 {
                self.look_at_rights().await;
            }
            sleep(BREATH).await;
        }
    }

    async fn look_at_rights(&self) {
        let looked = async { self.read().await?.rights_epoch().await.map_err(Into::into) };
        match looked.await {
            Ok(epoch) => {
                let _ = self.rights.seen.send_replace(Some(Seen { epoch, at: Instant::now() }));
            }
            Err(error @ crate::service::Error::Unavailable(_)) => {
                tracing::debug!(%error, "rights cannot be looked at for a moment");
            }
            Err(error) => tracing::error!(%error, "rights cannot be looked at"),
        }
    }
}
