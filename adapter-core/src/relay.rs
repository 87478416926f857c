//! Bytes both ways after login, as they come.
//!
//! Never looks at what it carries and keeps no buffer while nothing flows: one is borrowed from a small pool for as long as
//! bytes are on their way. Invariant: what one side wrote reaches the other unchanged, in order, and no faster than it is taken;
//! an end of one direction is passed on and leaves the other alone. Next: `report` tells the broker how much it was.

mod pump;

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

pub use pump::Pool;
use pump::Pump;

/// How often a session is looked at for being idle.
const TICK: Duration = Duration::from_secs(15);
/// Longest silence once one side has ended its direction.
const HALF_CLOSED: Duration = Duration::from_secs(60);
/// Silence after which a session counts as being between two answers.
const QUIET: Duration = Duration::from_millis(500);

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides ended it.
    Finished,
    /// A connection broke.
    Broken,
    /// Nothing came for too long.
    Idle,
    /// The adapter stops.
    Stopped,
}

/// What has been carried; shared with whoever reports it.
#[derive(Debug)]
pub struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    /// Whether the last byte for the client ended a line.
    line_ended: AtomicBool,
    half_closed: AtomicBool,
}

impl Default for Traffic {
    /// Nothing is carried yet: the client's last line is the answer to its login, and that has ended.
    fn default() -> Self {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { up, down, line_ended: AtomicBool::new(true), half_closed: AtomicBool::new(false) }
    }
}

impl Traffic {
    /// Bytes from client to provider.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes from provider to client.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// The client was answered this just before the relay began; the provider's first bytes may be behind the answer.
    pub(crate) fn answered(&self, said: &[u8]) {
        self.line_ended.store(said.ends_with(b"\n"), Ordering::Relaxed);
    }

    fn all(&self) -> u64 {
        self.up().wrapping_add(self.down())
    }
}

/// What a relay is told.
#[derive(Debug)]
pub struct Terms {
    /// Longest silence.
    pub idle: Duration,
    /// How long it may go on once told to stop.
    pub drain: Duration,
    /// What to say to the client when stopped between two answers.
    pub farewell: Vec<u8>,
}

/// Carries bytes until both sides have ended, one breaks, nothing comes for too long, or `stopping` resolves.
pub async fn relay<C, U>(
    client: &mut C,
    upstream: &mut U,
    (pool, traffic, terms): (&Pool, &Traffic, &Terms),
    stopping: impl Future<Output = ()>,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (end, between_answers) = {
        let mut both = Both { up: Pump::new(pool), down: Pump::new(pool), traffic };
        tokio::select! {
            carried = poll_fn(|cx| both.poll(cx, client, upstream)) => match carried {
                Ok(()) => (End::Finished, false),
                Err(_) => (End::Broken, false),
            },
            () = silence(traffic, terms.idle) => (End::Idle, false),
            between_answers = stopped(traffic, terms.drain, stopping) => (End::Stopped, between_answers),
        }
    };
    if between_answers {
        say_farewell(client, &terms.farewell).await;
    }
    end
}

async fn say_farewell(client: &mut (impl AsyncWrite + Unpin), farewell: &[u8]) {
    let words = async {
        client.write_all(farewell).await?;
        client.shutdown().await
    };
    // The client may be gone already; there is nobody to tell then.
    let _ = tokio::time::timeout(Duration::from_secs(1), words).await;
}

/// Resolves after `idle` without a byte, or a minute of it once one direction has ended.
async fn silence(traffic: &Traffic, idle: Duration) {
    let (mut carried, mut since) = (traffic.all(), Instant::now());
    loop {
        sleep(TICK.min(idle)).await;
        let now = traffic.all();
        if now != carried {
            (carried, since) = (now, Instant::now());
        }
        let half_closed = traffic.half_closed.load(Ordering::Relaxed);
        let most = if half_closed { idle.min(HALF_CLOSED) } else { idle };
        if since.elapsed() >= most {
            return;
        }
    }
}

/// Resolves some time after `stopping` did: true once nothing flows and the client's last byte ended a line, which is as near to the
/// end of an answer as one can know without reading it; false when `drain` is over.
async fn stopped(traffic: &Traffic, drain: Duration, stopping: impl Future<Output = ()>) -> bool {
    stopping.await;
    let until = Instant::now() + drain;
    loop {
        let before = traffic.all();
        sleep(QUIET.min(drain)).await;
        if traffic.all() == before && traffic.line_ended.load(Ordering::Relaxed) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
    }
}

struct Both<'a> {
    up: Pump<'a>,
    down: Pump<'a>,
    traffic: &'a Traffic,
}

impl Both<'_> {
    fn poll<C, U>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        upstream: &mut U,
    ) -> Poll<io::Result<()>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let up = self.up.poll(cx, client, upstream);
        let down = self.down.poll(cx, upstream, client);
        self.traffic.up.fetch_add(std::mem::take(&mut self.up.carried), Ordering::Relaxed);
        let carried = std::mem::take(&mut self.down.carried);
        if carried > 0 {
            self.traffic.down.fetch_add(carried, Ordering::Relaxed);
            self.traffic.line_ended.store(self.down.last == b'\n', Ordering::Relaxed);
        }
        match (up, down) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (up, down) => {
                let half = up.is_ready() || down.is_ready();
                self.traffic.half_closed.store(half, Ordering::Relaxed);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
