//! Bytes both ways after login, as they come.
//!
//! Never changes what it carries and keeps no buffer while nothing flows: one is borrowed from a small pool for as long as
//! bytes are on their way. Invariants: what one side wrote reaches the other unchanged, in order, and no faster than it is taken;
//! an end of one direction is passed on and leaves the other alone; a word of our own comes last, and only where `boundary`
//! allows it. Next: `report` tells the broker how much it was.

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

use crate::boundary::Boundaries;
use crate::dialogue::Farewell;

/// How often a session is looked at for being idle.
const TICK: Duration = Duration::from_secs(15);
/// Longest silence once one side has ended its direction.
const HALF_CLOSED: Duration = Duration::from_secs(60);
/// Silence after which a session counts as being between two answers.
const QUIET: Duration = Duration::from_millis(500);

/// How long an answer that is on its way may go on when a session is told to end.
const GRACE: Duration = Duration::from_millis(300);
/// How long the client may take for our last words.
const LAST_WORDS: Duration = Duration::from_millis(200);

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
    /// The session was told to.
    Told(Farewell),
}

/// What has been carried; shared with whoever reports it.
#[derive(Debug)]
pub struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    /// Whether the client may be told something now.
    free: AtomicBool,
    half_closed: AtomicBool,
}

impl Default for Traffic {
    /// Nothing is carried yet.
    fn default() -> Self {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { up, down, free: AtomicBool::new(false), half_closed: AtomicBool::new(false) }
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

    fn all(&self) -> u64 {
        self.up().wrapping_add(self.down())
    }
}

/// What a relay is told.
pub struct Terms {
    /// Longest silence.
    pub idle: Duration,
    /// How long it may go on once told to stop.
    pub drain: Duration,
    /// What to say to the client at the end, between two answers.
    pub words: Box<dyn Fn(Farewell) -> Vec<u8> + Send + Sync>,
}

/// Carries bytes until both sides have ended, one breaks, nothing comes for too long, the first of the `orders` resolves and the
/// time to drain is over, or the second one does: then it ends at once.
pub async fn relay<C, U>(
    (client, upstream): (&mut C, &mut U),
    (pool, traffic, terms): (&Pool, &Traffic, &Terms),
    line: &mut dyn Boundaries,
    (stopping, told): (impl Future<Output = ()>, impl Future<Output = Farewell>),
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    traffic.free.store(line.is_free(), Ordering::Relaxed);
    let mut both = Both { up: Pump::new(pool), down: Pump::new(pool), traffic, line };
    let (end, last_word) = tokio::select! {
        // An order comes first, however much there is to carry.
        biased;
        why = told => (End::Told(why), both.finish(client, upstream).await.then_some(why)),
        carried = poll_fn(|cx| both.poll(cx, client, upstream)) => match carried {
            Ok(()) => (End::Finished, None),
            Err(_) => (End::Broken, None),
        },
        () = silence(traffic, terms.idle) => (End::Idle, None),
        between_answers = stopped(traffic, terms.drain, stopping) => {
            (End::Stopped, between_answers.then_some(Farewell::Stopping))
        }
    };
    if let Some(why) = last_word {
        say(client, &(terms.words)(why)).await;
    }
    end
}

async fn say(client: &mut (impl AsyncWrite + Unpin), farewell: &[u8]) {
    let words = async {
        client.write_all(farewell).await?;
        client.shutdown().await
    };
    // The client may be gone already, or may not listen; then there is nobody to tell.
    let _ = tokio::time::timeout(LAST_WORDS, words).await;
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

/// Resolves some time after `stopping` did: true once nothing flows and the client has whole answers only; false when `drain` is
/// over.
async fn stopped(traffic: &Traffic, drain: Duration, stopping: impl Future<Output = ()>) -> bool {
    stopping.await;
    let until = Instant::now() + drain;
    loop {
        let before = traffic.all();
        sleep(QUIET.min(drain)).await;
        if traffic.all() == before && traffic.free.load(Ordering::Relaxed) {
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
    line: &'a mut dyn Boundaries,
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
        let line = &mut *self.line;
        let up = self.up.poll(cx, (client, upstream), &mut |bytes| line.to_server(bytes));
        let down = self.down.poll(cx, (upstream, client), &mut |bytes| line.to_client(bytes));
        self.count();
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

    /// Takes nothing more from the client and lets the answer that is on its way come to its end, if it is a short one. True if
    /// the client may be told something then.
    async fn finish<C, U>(&mut self, client: &mut C, upstream: &mut U) -> bool
    where
        C: AsyncWrite + Unpin,
        U: AsyncRead + Unpin,
    {
        if !self.line.is_free() {
            let rest = poll_fn(|cx| {
                let line = &mut *self.line;
                let down =
                    self.down.poll(cx, (upstream, client), &mut |bytes| line.to_client(bytes));
                self.count();
                if self.line.is_free() || down.is_ready() { Poll::Ready(()) } else { Poll::Pending }
            });
            let _ = tokio::time::timeout(GRACE, rest).await;
        }
        self.line.is_free() && !self.down.has_ended()
    }

    fn count(&mut self) {
        let up = std::mem::take(&mut self.up.carried);
        let down = std::mem::take(&mut self.down.carried);
        if up + down > 0 {
            self.traffic.up.fetch_add(up, Ordering::Relaxed);
            self.traffic.down.fetch_add(down, Ordering::Relaxed);
            self.traffic.free.store(self.line.is_free(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
