//! A client that speaks raw lines, for what no well-behaved library would say.
//!
//! Sends exactly the bytes it is given and reads lines with a deadline; knows no protocol. Loopback only. A line has at
//! most 1 MiB. Next: [`super::mailbox::sasl`] for the words of a login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ca::TestCa;

const DEADLINE: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 * 1024;
const LINE_MAX: usize = 1024 * 1024;
const LINES_MAX: usize = 100_000;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection, plain or TLS.
pub struct Speaker {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    deadline: Duration,
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").field("unread", &self.read.len()).finish_non_exhaustive()
    }
}

impl Speaker {
    /// Connects in plain text.
    ///
    /// # Errors
    /// Not loopback, or nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        ensure!(address.ip().is_loopback(), "{address} is not loopback");
        let stream = tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), deadline: DEADLINE })
    }

    /// Connects with TLS as `localhost`, trusting `ca`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), or the handshake fails.
    pub async fn connect_tls(address: SocketAddr, ca: &TestCa) -> Result<Self> {
        Self::connect(address).await?.start_tls(ca).await
    }

    /// Goes on with TLS as `localhost`, trusting `ca`. Bytes already read are forgotten.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn start_tls(self, ca: &TestCa) -> Result<Self> {
        let connector = TlsConnector::from(Arc::new(ca.client_config()?));
        let handshake = connector.connect(ServerName::try_from("localhost")?, self.stream);
        let stream =
            tokio::time::timeout(self.deadline, handshake).await.context("TLS handshake")??;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), deadline: self.deadline })
    }

    /// This speaker with another deadline for each read and write.
    pub fn patient(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sends a line and its CRLF.
    ///
    /// # Errors
    /// The peer does not take it in time.
    pub async fn send(&mut self, line: &str) -> Result<()> {
        self.send_bytes(format!("{line}\r\n").as_bytes()).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The peer does not take them in time.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(tokio::time::timeout(self.deadline, sent).await.context("send")??)
    }

    /// The next line, without its CRLF but with every blank before it.
    ///
    /// # Errors
    /// None in time, the end of the stream, or a line beyond 1 MiB.
    pub async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=end).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            ensure!(self.read.len() < LINE_MAX, "a line beyond {LINE_MAX} bytes");
            ensure!(self.fill().await? > 0, "the peer closed; unread: {:?}", self.unread());
        }
    }

    /// The next line, which must begin with `start`.
    ///
    /// # Errors
    /// It does not, or as [`line`](Self::line).
    pub async fn expect(&mut self, start: &str) -> Result<String> {
        let line = self.line().await.with_context(|| format!("expected {start:?}"))?;
        ensure!(line.starts_with(start), "expected {start:?}, got {line:?}");
        Ok(line)
    }

    /// All lines up to and with the first that begins with `start`.
    ///
    /// # Errors
    /// None comes, or as [`line`](Self::line).
    pub async fn until(&mut self, start: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while lines.len() < LINES_MAX {
            lines.push(
                self.line()
                    .await
                    .with_context(|| format!("waiting for {start:?} after {lines:?}"))?,
            );
            if lines.last().is_some_and(|line| line.starts_with(start)) {
                return Ok(lines);
            }
        }
        bail!("{LINES_MAX} lines and none begins with {start:?}")
    }

    /// All lines up to and with the answer to an IMAP command, which has to be OK (RFC 3501, 7.1).
    ///
    /// # Errors
    /// The answer is NO or BAD, or as [`until`](Self::until).
    pub async fn completed(&mut self, tag: &str) -> Result<Vec<String>> {
        let lines = self.until(&format!("{tag} ")).await?;
        let answer = lines.last().map_or("", String::as_str);
        ensure!(answer.starts_with(&format!("{tag} OK")), "not OK: {answer:?}");
        Ok(lines)
    }

    /// Sends a line and returns the next one.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`line`](Self::line).
    pub async fn ask(&mut self, line: &str) -> Result<String> {
        self.send(line).await?;
        self.line().await
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// They do not come in time.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.read.len() < count {
            ensure!(
                self.fill().await? > 0,
                "the peer closed after {} of {count} bytes",
                self.read.len()
            );
        }
        Ok(self.read.drain(..count).collect())
    }

    /// Reads and forgets all lines up to and with the first that begins with `start`; returns how many bytes that were.
    ///
    /// # Errors
    /// None comes in time.
    pub async fn swallow(&mut self, start: &str) -> Result<usize> {
        let needle = [b"\n", start.as_bytes()].concat();
        // What is left of the last chunk may hold the beginning of the needle.
        let mut tail = std::mem::take(&mut self.read);
        let mut swallowed = tail.len();
        loop {
            if let Some(at) = tail.windows(needle.len()).position(|part| part == needle) {
                self.read = tail.split_off(at + 1);
                swallowed -= self.read.len();
                let last = self.line().await?;
                return Ok(swallowed + last.len() + 2);
            }
            tail.drain(..tail.len().saturating_sub(needle.len()));
            tail.reserve(4 * CHUNK);
            let read = tokio::time::timeout(self.deadline, self.stream.read_buf(&mut tail));
            let read = read.await.context("swallowing")??;
            ensure!(read > 0, "the peer closed after {swallowed} bytes");
            swallowed += read;
        }
    }

    /// Waits until the peer closes; returns what it still said.
    ///
    /// # Errors
    /// It does not close in time.
    pub async fn closed(&mut self) -> Result<String> {
        // A reset is a close too.
        while self.read.len() < LINE_MAX && self.fill_or_end().await? > 0 {}
        Ok(self.unread())
    }

    async fn fill_or_end(&mut self) -> Result<usize> {
        match self.fill().await {
            Err(error) if error.is::<std::io::Error>() => Ok(0),
            other => other,
        }
    }

    async fn fill(&mut self) -> Result<usize> {
        self.read.reserve(CHUNK);
        let read = tokio::time::timeout(self.deadline, self.stream.read_buf(&mut self.read));
        Ok(read.await.with_context(|| format!("nothing in {:?}", self.deadline))??)
    }

    fn unread(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}
