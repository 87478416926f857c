//! The one writer: jobs from a bounded queue, a group of them per transaction, answers after the commit.
//!
//! Never lets go of a job: a caller may leave, its job still runs to a clean end. Invariants: one group at a time; each
//! job in its own savepoint, so that it fails alone; nobody is told "done" before the commit; after any trouble with the
//! transaction itself the connection is thrown away, never reused. A lost database costs each waiting caller one error,
//! not a growing queue: until the next attempt is due, groups are refused at once. Next: `engine.rs` has the
//! transaction; the issue on decisions adds its group commit here.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::engine::{Conn, Pool, Tx};
use super::error::{Error, Result};
use super::sqlite::Lock;
use crate::tasks::Tasks;
use crate::telemetry::metrics;

/// What a job does with the transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// Jobs that may wait; more are refused with [`Error::Busy`].
const QUEUE: usize = 1024;
/// Jobs that share one transaction.
const GROUP: usize = 64;
/// How long a group may take, from `begin` to the end of `commit`.
const GROUP_DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a failed attempt to connect doubles between these.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The way into the queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Queued>>,
}

/// Spawns the writer; it ends when `tasks` stop, after what is queued then.
pub(super) fn start(pool: Pool, lock: Option<Arc<Lock>>, tasks: &Tasks) -> Writer {
    let (queue, jobs) = mpsc::channel(QUEUE);
    let stopping = tasks.stopping();
    let desk = Desk { pool, conn: None, pause: BACKOFF.0, retry_at: Instant::now() };
    drop(tasks.spawn(async move {
        desk.serve(jobs, stopping).await;
        drop(lock);
    }));
    Writer { queue }
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
trait Queued: Send {
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

/// Where the writer sits: its connection and when to try for a new one.
struct Desk {
    pool: Pool,
    conn: Option<Conn>,
    pause: Duration,
    retry_at: Instant,
}

impl Desk {
    async fn serve(
        mut self,
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
            let began = Instant::now();
            let end = self.commit(&mut group).await;
            metrics::written(group.len(), began.elapsed());
            for job in group.drain(..) {
                job.answer(end.clone());
            }
        }
        drop(self.conn.take());
        self.pool.close().await;
    }

    /// One group, one transaction. An error is the whole group's.
    async fn commit(&mut self, group: &mut [Box<dyn Queued>]) -> Result<()> {
        let conn = self.connection().await?;
        let work = unwinding(AssertUnwindSafe(transact(conn, group)));
        match tokio::time::timeout(GROUP_DEADLINE, work).await {
            Ok(Ok(ended)) => self.conn = Some(ended?),
            Ok(Err(Panic)) => return Err(Error::Panicked),
            Err(_) => return Err(Error::Unreachable { why: "no answer in time".into() }),
        }
        Ok(())
    }

    async fn connection(&mut self) -> Result<Conn> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        if Instant::now() < self.retry_at {
            return Err(Error::Unreachable { why: "waiting to connect again".into() });
        }
        match self.pool.acquire().await {
            Ok(conn) => {
                self.pause = BACKOFF.0;
                Ok(conn.closing_on_drop())
            }
            Err(error) => {
                self.retry_at = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(BACKOFF.1);
                tracing::warn!(%error, "the writer cannot connect to the database");
                Err(match error {
                    Error::Busy => Error::Unreachable { why: "no connection in time".into() },
                    other => other,
                })
            }
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

struct Panic;

/// Awaits `work`; a panic in it becomes a value, so that the writer outlives the job.
async fn unwinding<F: Future>(work: AssertUnwindSafe<F>) -> std::result::Result<F::Output, Panic> {
    let mut work = std::pin::pin!(work.0);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_) => Poll::Ready(Err(Panic)),
    })
    .await
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} waiting)", QUEUE - self.queue.capacity())
    }
}
