//! Tasks that end with their owner.
//!
//! Every server of the cast owns one [`Background`]; dropping it ends them all, [`Background::stop`] also waits. It never
//! keeps a task alive beyond its owner, so a test that ends leaves no port behind. Next: [`super::provider`].

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one server; dropping it cancels them.
#[derive(Debug, Default)]
pub struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    /// Runs `work` until it ends or the owner goes.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.spawner().spawn(work);
    }

    /// A spawner for tasks that start tasks, such as an accept loop.
    pub fn spawner(&self) -> Spawner {
        Spawner { stop: self.stop.clone(), tasks: self.tasks.clone() }
    }

    /// Cancelled when the owner goes; for waits that must end with it.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends all tasks and waits until the last of them is gone, so that its port can be bound again.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts tasks on behalf of a [`Background`] without owning it.
#[derive(Clone, Debug)]
pub struct Spawner {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Spawner {
    /// Runs `work` until it ends or the owner of the background goes.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the cast spawns; Drop ends the task"
    )]
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.tasks.track_future(until(self.stop.clone(), work))));
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
