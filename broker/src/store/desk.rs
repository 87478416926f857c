//! Where a writer sits: its connection, and when to try for a new one.
//!
//! Never reuses a connection after any trouble with a transaction: it is thrown away. Invariants: a piece of work has a
//! deadline, and a panic in it becomes an error; a lost database costs each caller one error, not a growing queue, since
//! until the next attempt is due work is refused at once. Next: `writer.rs` and `lane.rs` work here; on an embedded engine
//! they share one desk, since a file has one writer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::{Conn, Pool};
use super::error::{Error, Result};

/// How long one transaction may take, from `begin` to the end of `commit`.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a failed attempt to connect doubles between these.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A connection that writes, or the right to one.
pub(super) struct Desk {
    pool: Pool,
    conn: Option<Conn>,
    pause: Duration,
    retry_at: Instant,
}

impl Desk {
    /// A desk that takes its connection from `pool`.
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, conn: None, pause: BACKOFF.0, retry_at: Instant::now() }
    }

    /// Does one transaction. `work` gives the connection back if all is well.
    pub(super) async fn work<F>(&mut self, work: impl FnOnce(Conn) -> F) -> Result<()>
    where
        F: Future<Output = Result<Conn>>,
    {
        let conn = self.connection().await?;
        let work = unwinding(AssertUnwindSafe(work(conn)));
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(Ok(ended)) => self.conn = Some(ended?),
            Ok(Err(Panic)) => return Err(Error::Panicked),
            Err(_) => return Err(Error::Unreachable { why: "no answer in time".into() }),
        }
        Ok(())
    }

    /// Lets the connection go.
    pub(super) fn leave(&mut self) {
        drop(self.conn.take());
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
                tracing::warn!(%error, "a writer cannot connect to the database");
                Err(match error {
                    Error::Busy => Error::Unreachable { why: "no connection in time".into() },
                    other => other,
                })
            }
        }
    }
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
