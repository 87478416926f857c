//! Connections for a gRPC door: accepted here, encrypted where there is a certificate.
//!
//! Never waits for a handshake in the accept loop. Invariant: handshakes have a deadline and a bound on how many run at
//! once. Next: `serve.rs` speaks HTTP/2 over them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::tasks::Tasks;

/// The longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most handshakes at once; who comes later waits in the listener's backlog.
const HANDSHAKES: usize = 256;

/// The pause after the system refused to accept (no file descriptors left, for instance).
const BACKOFF: Duration = Duration::from_millis(50);

/// A connection, plain or encrypted.
#[derive(Debug)]
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Accepts connections until the tasks stop.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    tasks: &Tasks,
) -> ReceiverStream<io::Result<Link>> {
    let (links, stream) = mpsc::channel(64);
    let acceptor = tls.map(TlsAcceptor::from);
    let (spawner, stopping) = (tasks.clone(), tasks.stopping());
    drop(tasks.spawn(async move {
        let work = accept(listener, acceptor, links, spawner);
        tokio::select! { () = work => {}, () = stopping => {} }
    }));
    ReceiverStream::new(stream)
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    links: mpsc::Sender<io::Result<Link>>,
    tasks: Tasks,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BACKOFF).await;
            continue;
        };
        // Small answers must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor.clone() else {
            if links.send(Ok(Link::Plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(slot) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let links = links.clone();
        drop(tasks.spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                let _ = links.send(Ok(Link::Tls(Box::new(stream)))).await;
            }
            drop(slot);
        }));
    }
}

impl Connected for Link {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Self::Plain(stream) => stream.connect_info(),
            Self::Tls(stream) => stream.get_ref().0.connect_info(),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
