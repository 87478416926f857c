//! Bytes both ways after login, as they come.
//!
//! Never looks at what it carries and keeps no buffer while nothing flows: one is borrowed from a small pool for as long as
//! bytes are on their way. Invariant: what one side wrote reaches the other unchanged, in order, and no faster than it is taken;
//! an end of one direction is passed on and leaves the other alone. Next: `report` tells the broker how much it was.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep};

/// One TLS record of plain text.
const BUFFER: usize = 16 * 1024;
/// Free buffers kept for the next bytes; more are given back to the system.
const KEPT: usize = 64;
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
#[derive(Debug, Default)]
pub struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    /// Whether the last byte for the client ended a line.
    line_ended: AtomicBool,
    half_closed: AtomicBool,
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
#[derive(Debug)]
pub struct Terms {
    /// Longest silence.
    pub idle: Duration,
    /// How long it may go on once told to stop.
    pub drain: Duration,
    /// What to say to the client when stopped between two answers.
    pub farewell: Vec<u8>,
}

/// Spare buffers; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Pool {
    fn borrow(&self) -> Buffer {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice());
        Buffer { pool: self.clone(), bytes }
    }
}

/// A borrowed buffer; goes back when dropped.
struct Buffer {
    pool: Pool,
    bytes: Box<[u8]>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < KEPT {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
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

/// One direction.
struct Pump<'a> {
    pool: &'a Pool,
    /// Bytes read and not yet written: `buffer[start..end]`.
    unsent: Option<(Buffer, usize, usize)>,
    unflushed: bool,
    phase: Phase,
    carried: u64,
    last: u8,
}

enum Phase {
    Flowing,
    Ending,
    Ended,
}

impl<'a> Pump<'a> {
    fn new(pool: &'a Pool) -> Self {
        let (unsent, phase) = (None, Phase::Flowing);
        Self { pool, unsent, unflushed: false, phase, carried: 0, last: 0 }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.phase {
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.phase = Phase::Ended;
                }
                Phase::Flowing => {
                    ready!(self.write(cx, to))?;
                    ready!(self.read(cx, from, to))?;
                }
            }
        }
    }

    /// Writes what was read. Until it is gone nothing more is read: that is the back-pressure.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some((buffer, start, end)) = &mut self.unsent {
            let sent = ready!(Pin::new(&mut *to).poll_write(cx, &buffer.bytes[*start..*end]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.last = buffer.bytes[*start + sent - 1];
            *start += sent;
            self.carried += sent as u64;
            self.unflushed = true;
            if start == end {
                self.unsent = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn read<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = self.pool.borrow();
        let mut space = ReadBuf::new(&mut buffer.bytes);
        let read = Pin::new(from).poll_read(cx, &mut space);
        let length = space.filled().len();
        match read {
            Poll::Ready(Ok(())) if length > 0 => self.unsent = Some((buffer, 0, length)),
            Poll::Ready(Ok(())) => self.phase = Phase::Ending,
            // TLS without a farewell: many clients just hang up.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.phase = Phase::Ending;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                drop(buffer);
                if self.unflushed {
                    ready!(Pin::new(to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
