//! Work that outlives the call that started it, and the one way to end it all.
//!
//! Never lets a connection be lost: whatever is spawned here is waited for at shutdown, up to a grace time.
//! Invariant: this is the only file of the adapters that calls `tokio::spawn`. Next: `adapter` hands [`Tasks`] down.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// Spawns, tells to stop, waits. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Runs `work` on its own.
    #[expect(clippy::disallowed_methods, reason = "this is the Tasks")]
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.tracker.track_future(work)));
    }

    /// Resolves once [`stop`](Self::stop) was called.
    pub fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks every task to come to an end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops and waits for all tasks, at most `grace`. True if all of them ended.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.stop();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
