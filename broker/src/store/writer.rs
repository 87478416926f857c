//! The one writer: jobs from a bounded queue, a group of them per transaction, answers after the commit.
//!
//! Never lets go of a job: a caller may leave, its job still runs to a clean end. Invariants: one group at a time; each
//! job in its own savepoint, so that it fails alone; nobody is told "done" before the commit. Next: `engine.rs` has the
//! transaction, `desk.rs` the connection; what is handed out goes through `lane.rs`, which needs no savepoints.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use super::desk::Desk;
use super::engine::{Conn, Tx};
use super::error::{Error, Result};
use crate::telemetry::metrics;

/// What a job does with the transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// Jobs that may wait; more are refused with [`Error::Busy`].
const QUEUE: usize = 1024;
/// Jobs that share one transaction.
const GROUP: usize = 64;

/// The way into the queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Queued>>,
}

/// A queue and the way into it.
pub(super) fn queue() -> (Writer, mpsc::Receiver<Box<dyn Queued>>) {
    let (queue, jobs) = mpsc::channel(QUEUE);
    (Writer { queue }, jobs)
}

impl Writer {
    /// See [`Store::write`](super::Store::write).
    pub(super) async fn write<T, J>(&self, job: J) -> Result<T>
    where
        J: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, end) = oneshot::channel();
        let job = Job { job: Some(job), result: None, answer };
        self.queue.try_send(Box::new(job)).map_err(|_| Error::Busy)?;
        end.await.unwrap_or(Err(Error::Unreachable { why: "the writer ended".into() }))
    }
}

/// A job whose result type the writer does not care about.
pub(super) trait Queued: Send {
    /// Does the work. An error if it is to be undone.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Work<'t, ()>;

    /// The savepoint could not be kept: this is the result now.
    fn spoil(&mut self, error: Error);

    /// Tells the caller, if it is still there: its result, or why the group failed.
    fn answer(self: Box<Self>, group: Result<()>);
}

struct Job<J, T> {
    job: Option<J>,
    result: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<J, T> Queued for Job<J, T>
where
    J: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send,
    T: Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Work<'t, ()> {
        Box::pin(async move {
            let Some(job) = self.job.take() else { return Err(Error::Busy) };
            let result = job(tx).await;
            let end = result.as_ref().map(drop).map_err(Error::clone);
            self.result = Some(result);
            end
        })
    }

    fn spoil(&mut self, error: Error) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>, group: Result<()>) {
        let Self { result, answer, .. } = *self;
        drop(answer.send(group.and_then(|()| result.unwrap_or(Err(Error::Busy)))));
    }
}

/// Commits groups until it is told to stop, then what is queued.
pub(super) async fn serve(
    desk: Arc<Mutex<Desk>>,
    mut jobs: mpsc::Receiver<Box<dyn Queued>>,
    stopping: impl Future<Output = ()>,
) {
    let mut group = Vec::with_capacity(GROUP);
    let mut stopping = std::pin::pin!(stopping);
    loop {
        tokio::select! {
            biased;
            () = &mut stopping, if !jobs.is_closed() => { jobs.close(); continue }
            taken = jobs.recv_many(&mut group, GROUP) => if taken == 0 { break },
        }
        let mut desk = desk.lock().await;
        let began = Instant::now();
        let end = desk.work(|conn| transact(conn, &mut group)).await;
        drop(desk);
        metrics::written(group.len(), began.elapsed());
        for job in group.drain(..) {
            job.answer(end.clone());
        }
    }
}

/// Runs the group; an early return drops the transaction and, with it, the connection.
async fn transact(conn: Conn, group: &mut [Box<dyn Queued>]) -> Result<Conn> {
    let mut tx = Tx::begin(conn).await?;
    tx.mark().await?;
    let last = group.len().saturating_sub(1);
    for (at, job) in group.iter_mut().enumerate() {
        if let Err(error) = job.run(&mut tx).await {
            undo(&mut tx, error).await?;
            continue;
        }
        let kept = if at == last { tx.keep().await } else { tx.next().await };
        if let Err(error) = kept {
            // The job swallowed an error that had doomed its savepoint.
            undo(&mut tx, error.clone()).await?;
            job.spoil(error);
        }
    }
    tx.seal_audit().await?;
    tx.pass_rings().await?;
    tx.commit().await
}

/// Undoes one job. If that is impossible, a full disk or a lost connection has ended the transaction: then that is why.
async fn undo(tx: &mut Tx, because: Error) -> Result<()> {
    tx.undo().await.map_err(|error| match because {
        Error::Full { .. } | Error::Unreachable { .. } => because,
        _ => error,
    })
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} waiting)", QUEUE - self.queue.capacity())
    }
}
