//! Work that outlives the call that started it, and the one way to end it all.
//!
//! Never lets a task be lost: whatever is spawned here is waited for at shutdown, up to a grace time.
//! Invariant: this is the only file that calls `tokio::spawn`. Next: `assemble` hands [`Tasks`] down.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns, tells to stop, waits. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` on its own; dropping the handle does not end it.
    #[expect(clippy::disallowed_methods, reason = "this is the Tasks")]
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        tokio::spawn(self.tracker.track_future(work))
    }

    /// Resolves once [`stop`](Self::stop) was called.
    pub fn stopping(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn draining_waits_for_work_that_was_let_go() {
        let tasks = Tasks::new();
        let (done, ended) = tokio::sync::oneshot::channel();
        let stop = tasks.stopping();
        drop(tasks.spawn(async move {
            stop.await;
            done.send(()).unwrap();
        }));
        assert!(tasks.drain(Duration::from_secs(5)).await);
        ended.await.unwrap();
    }
}
