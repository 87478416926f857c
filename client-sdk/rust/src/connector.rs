//! Dials one endpoint, and remembers for a moment that it could not.
//!
//! A channel that cannot connect fails the calls that wait for it one by one, each after a dial of its own: behind a
//! host that swallows packets the last of them would wait for minutes. Invariant: within [`COOLING`] of a dial that
//! led nowhere, further dials fail at once. Never speaks TLS; tonic wraps that around, and its failure is seen here
//! as a stream that is dropped before anything was read from it. Next: `transport`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::codegen::http::Uri;
use tonic::codegen::{BoxFuture, Context, Poll, Service};

/// How long a failed dial stands for those that follow.
const COOLING: Duration = Duration::from_millis(100);

/// Dials TCP. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Dialler {
    limit: Duration,
    memory: Memory,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Option<(Instant, String)>>>);

impl Memory {
    fn failed(&self, why: &str) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *memory = Some((Instant::now(), why.to_owned()));
    }

    fn recent(&self) -> Option<io::Error> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = memory.as_ref()?;
        (at.elapsed() < COOLING).then(|| io::Error::other(why.clone()))
    }
}

impl Dialler {
    /// Gives up after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, memory: Memory::default() }
    }

    async fn dial(self, uri: Uri) -> io::Result<TokioIo<Line>> {
        if let Some(error) = self.memory.recent() {
            return Err(error);
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let dialled = timeout(self.limit, TcpStream::connect((host, port))).await;
        let dialled = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = dialled.inspect_err(|error| self.memory.failed(&error.to_string()))?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(Line { stream, memory: self.memory, spoken: !encrypted }))
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A TCP stream that tells when it is dropped before the other side said anything.
pub(crate) struct Line {
    stream: TcpStream,
    memory: Memory,
    spoken: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.spoken {
            self.memory.failed("it took the connection and then said nothing");
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut line.stream).poll_read(cx, buf);
        line.spoken |= buf.filled().len() > before;
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn somebody() -> (tokio::net::TcpListener, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn a_dial_that_failed_is_remembered() {
        let (listener, address) = somebody().await;
        drop(listener);
        let dialler = Dialler::new(Duration::from_secs(3));
        assert!(dialler.memory.recent().is_none());
        assert!(dialler.clone().dial(format!("http://{address}").parse().unwrap()).await.is_err());
        assert!(dialler.memory.0.lock().unwrap().is_some());
    }

    #[tokio::test]
    async fn a_handshake_that_nobody_answers_is_remembered_and_a_plain_hang_up_is_not() {
        let (_listener, address) = somebody().await;
        for (scheme, remembered) in [("https", true), ("http", false)] {
            let dialler = Dialler::new(Duration::from_secs(3));
            let uri = format!("{scheme}://{address}").parse().unwrap();
            drop(dialler.clone().dial(uri).await.unwrap());
            assert_eq!(dialler.memory.0.lock().unwrap().is_some(), remembered, "{scheme}");
        }
    }
}
