//! One direction of a relay, and the buffers it borrows.
//!
//! Never reads on while something is unwritten: that is the back-pressure. Invariant: a buffer is out of the pool only while bytes
//! are on their way, and at most [`KEPT`] lie in it. Next: back to `relay`, which runs two of these.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One TLS record of plain text.
pub(super) const BUFFER: usize = 16 * 1024;
/// Free buffers kept for the next bytes; more are given back to the system.
const KEPT: usize = 64;

/// Spare buffers; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool(pub(super) Arc<Mutex<Vec<Box<[u8]>>>>);

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

/// One direction.
pub(super) struct Pump<'a> {
    pool: &'a Pool,
    /// Bytes read and not yet written: `buffer[start..end]`.
    unsent: Option<(Buffer, usize, usize)>,
    unflushed: bool,
    phase: Phase,
    /// Bytes written since somebody took this count.
    pub(super) carried: u64,
}

enum Phase {
    Flowing,
    Ending,
    Ended,
}

impl<'a> Pump<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        let (unsent, phase) = (None, Phase::Flowing);
        Self { pool, unsent, unflushed: false, phase, carried: 0 }
    }

    /// Whether its end was passed on.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Carries on; ready once the end was passed on. `seen` is shown what was written.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut R, &mut W),
        seen: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>>
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
                    ready!(self.write(cx, to, seen))?;
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
        seen: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        while let Some((buffer, start, end)) = &mut self.unsent {
            let sent = ready!(Pin::new(&mut *to).poll_write(cx, &buffer.bytes[*start..*end]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            seen(&buffer.bytes[*start..*start + sent]);
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
