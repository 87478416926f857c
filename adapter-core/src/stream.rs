//! A connection, in clear or in TLS, and the step from one to the other.
//!
//! Never reads ahead: there is no buffer between the socket and the dialogue, so nothing can be left over when TLS begins.
//! Invariant: [`Stream::secure`] refuses a connection on which the peer has already said more. Next: `drive`, `relay`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How long a silent peer is believed to be there before it is asked, and how often it is asked.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(300), Duration::from_secs(60), 5);

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// As it comes.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Which end of TLS we are.
pub enum Side {
    /// We show the certificate.
    Server(TlsAcceptor),
    /// We check the peer's certificate for this name.
    Client(TlsConnector, ServerName<'static>),
}

impl Stream {
    /// Prepares a fresh TCP connection: small writes leave at once, dead peers are noticed.
    ///
    /// # Errors
    /// What the socket says.
    pub fn plain(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let (time, interval, retries) = KEEPALIVE;
        let keepalive =
            TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        Ok(Self::Plain(tcp))
    }

    /// Shakes hands, within `limit`.
    ///
    /// # Errors
    /// Bytes that came in clear and were not read, a second handshake, a failed one, or the time being over.
    pub async fn secure(self, side: Side, limit: Duration) -> io::Result<Self> {
        let Self::Plain(tcp) = self else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let handshake = async {
            match side {
                Side::Server(acceptor) => acceptor.accept(tcp).await.map(TlsStream::from),
                Side::Client(connector, name) => {
                    connector.connect(name, tcp).await.map(TlsStream::from)
                }
            }
        };
        let tls = tokio::time::timeout(limit, Box::pin(handshake))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake"))??;
        Ok(Self::Tls(Box::new(tls)))
    }

    /// Fails if the peer has said something in clear that nobody has read: behind STARTTLS that is an injection.
    ///
    /// # Errors
    /// `InvalidData` if so; what the socket says.
    pub fn nothing_unread(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self else { return Ok(()) };
        match tcp.try_read(&mut [0; 1]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind STARTTLS")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The TLS version, for example `TLSv1_3`; empty without TLS.
    pub fn tls_version(&self) -> String {
        let version = match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.get_ref().1.protocol_version(),
        };
        version.and_then(|version| version.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether TLS stands.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
