//! Lines and bytes of one connection, in plain text or TLS.
//!
//! Bounded and with a deadline on every wait; knows no protocol. Bytes that a client sent before its TLS handshake are
//! never taken for what came after it. Next: [`super::imap`] and [`super::smtp`].

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Longest line in bytes.
pub const LINE_MAX: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
const DEADLINE: Duration = Duration::from_secs(30 * 60);
const HANDSHAKE: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub struct Wire {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    is_tls: bool,
}

impl Wire {
    /// A plain connection.
    pub fn plain(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new(), is_tls: false }
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Goes on with TLS.
    ///
    /// # Errors
    /// Bytes were sent ahead of the handshake, or it fails.
    pub async fn start_tls(self, acceptor: &TlsAcceptor) -> Result<Self, Error> {
        if !self.read.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "plain text ahead of the TLS handshake",
            ));
        }
        let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(self.stream)).await??;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), is_tls: true })
    }

    /// The next line without its CRLF; `None` at the end of the stream.
    ///
    /// # Errors
    /// The line is too long, the peer is too slow or gone.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.read[searched..].iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=searched + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            searched = self.read.len();
            if searched > LINE_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "line too long"));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Exactly `count` bytes; the caller bounds the count.
    ///
    /// # Errors
    /// They do not come.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        while self.read.len() < count {
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.read.drain(..count).collect())
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The peer does not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(DEADLINE, sent).await?
    }

    /// Sends a line and its CRLF.
    ///
    /// # Errors
    /// The peer does not take it.
    pub async fn say(&mut self, line: &str) -> Result<(), Error> {
        self.send(format!("{line}\r\n").as_bytes()).await
    }

    /// Ends politely.
    pub async fn close(mut self) {
        drop(tokio::time::timeout(HANDSHAKE, self.stream.shutdown()).await);
    }

    async fn fill(&mut self) -> Result<usize, Error> {
        self.read.reserve(CHUNK);
        tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await?
    }
}
