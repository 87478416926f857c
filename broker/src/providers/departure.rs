//! The body of a request, which leaves in time or not at all.
//!
//! Secrets travel in the body, never in the head. Between the decision to send one and the moment when the connection takes
//! it lie a look-up, a handshake and perhaps a process that was stopped; whoever took over meanwhile must not find that the
//! token is spent after all. Never hands a body out twice. Invariant: what was kept back has surely not been sent, what was
//! handed out may have been. Next: [`wire`](super::wire) asks which it was.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Instant;

/// A body that is handed to the connection until a moment, and not after it.
#[derive(Debug)]
pub(super) struct Timely {
    bytes: Option<Bytes>,
    until: Instant,
    departure: Departure,
}

/// Says whether the body was handed out.
#[derive(Clone, Debug, Default)]
pub(super) struct Departure(Arc<AtomicBool>);

/// The connection asked for the body too late.
#[derive(Debug, thiserror::Error)]
#[error("it is too late to send this")]
pub(super) struct TooLate;

impl Timely {
    /// An empty body is as good as sent: its head may be all there is.
    pub(super) fn new(bytes: Vec<u8>, until: Instant) -> (Self, Departure) {
        let bytes = Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty());
        let departure = Departure(Arc::new(AtomicBool::new(bytes.is_none())));
        (Self { bytes, until, departure: departure.clone() }, departure)
    }
}

impl Departure {
    /// Whether nothing of the body can have reached anybody.
    pub(super) fn is_held_back(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

impl Body for Timely {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if Instant::now() > self.until {
            return Poll::Ready(Some(Err(TooLate)));
        }
        self.departure.0.store(true, Ordering::Release);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
