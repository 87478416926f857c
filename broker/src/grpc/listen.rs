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
use tonic::transport::server::Connected;

use super::peer::{ClientCertificate, Peer};
use super::tls::ClientAuthorities;
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
    Tls(Box<TlsStream<TcpStream>>, Option<Arc<ClientCertificate>>),
}

/// How a door shakes hands.
#[derive(Clone, Debug)]
pub struct DoorTls {
    /// With what.
    pub(super) config: Arc<ServerConfig>,
    /// Who signs its clients' certificates, if it asks for them.
    pub(super) clients: Option<ClientAuthorities>,
}

/// Accepts connections until the tasks stop.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<DoorTls>,
    tasks: &Tasks,
) -> ReceiverStream<io::Result<Link>> {
    let (links, stream) = mpsc::channel(64);
    let (spawner, stopping) = (tasks.clone(), tasks.stopping());
    drop(tasks.spawn(async move {
        let work = accept(listener, tls, links, spawner);
        tokio::select! { () = work => {}, () = stopping => {} }
    }));
    ReceiverStream::new(stream)
}

async fn accept(
    listener: TcpListener,
    tls: Option<DoorTls>,
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
        let Some(DoorTls { config, clients }) = tls.clone() else {
            if links.send(Ok(Link::Plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(slot) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let links = links.clone();
        drop(tasks.spawn(async move {
            let acceptor = TlsAcceptor::from(config);
            let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                let certificate = shown(&stream, clients).map(Arc::new);
                let _ = links.send(Ok(Link::Tls(Box::new(stream), certificate))).await;
            }
            drop(slot);
        }));
    }
}

/// The client's certificate, if it showed one.
fn shown(
    stream: &TlsStream<TcpStream>,
    clients: Option<ClientAuthorities>,
) -> Option<ClientCertificate> {
    let chain = stream.get_ref().1.peer_certificates()?.to_vec();
    ClientCertificate::read(chain, clients?)
}

impl Connected for Link {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Plain(stream) => Peer { address: stream.peer_addr().ok(), certificate: None },
            Self::Tls(stream, certificate) => Peer {
                address: stream.get_ref().0.peer_addr().ok(),
                certificate: certificate.clone(),
            },
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
            Self::Tls(stream, _) => Pin::new(stream).poll_read(cx, buf),
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
            Self::Tls(stream, _) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
