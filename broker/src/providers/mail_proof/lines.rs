//! A connection read line by line, with bounds.
//!
//! Never holds more than one line too long, never reads without end. Invariant: whoever takes the stream out gets it only
//! if every byte that arrived was also read, so nothing said before TLS can be taken for something said within.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::Failed;

/// Longest line, in bytes with its ending.
const LONGEST: usize = 8 * 1024;
/// Most lines in one connection.
const MOST: u32 = 64;

/// What lines are read from: TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection read line by line.
pub(super) struct Lines {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    left: u32,
}

impl Lines {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, unread: Vec::new(), left: MOST }
    }

    /// The next line, without its ending.
    pub(super) async fn next(&mut self) -> Result<String, Failed> {
        self.left = self.left.checked_sub(1).ok_or(Failed::Unreachable("too many lines"))?;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.unread.len() >= LONGEST {
                return Err(Failed::Unreachable("a line too long"));
            }
            let mut part = [0; 1024];
            let read = self.stream.read(&mut part).await;
            match read.map_err(|_| Failed::Unreachable("the connection broke"))? {
                0 => return Err(Failed::Unreachable("the server hung up")),
                count => self.unread.extend_from_slice(&part[..count]),
            }
        }
    }

    /// Says one line; the copy made for the ending is wiped.
    pub(super) async fn say(&mut self, line: &str) -> Result<(), Failed> {
        let mut whole = Zeroizing::new(Vec::with_capacity(line.len() + 2));
        whole.extend_from_slice(line.as_bytes());
        whole.extend_from_slice(b"\r\n");
        let broke = |_| Failed::Unreachable("the connection broke");
        self.stream.write_all(&whole).await.map_err(broke)?;
        self.stream.flush().await.map_err(broke)
    }

    /// The stream itself, if nothing of it is left unread here.
    pub(super) fn into_unread_stream(self) -> Result<Box<dyn Stream>, Failed> {
        if self.unread.is_empty() {
            Ok(self.stream)
        } else {
            Err(Failed::Unreachable("the server spoke before TLS was up"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(sent: &[u8]) -> Lines {
        let (mut server, client) = tokio::io::duplex(64 * 1024);
        server.write_all(sent).await.unwrap();
        drop(server);
        Lines::new(Box::new(client))
    }

    #[tokio::test]
    async fn lines_end_with_or_without_a_carriage_return() {
        let mut lines = after(b"one\r\ntwo\nthr\xffee\r\n").await;
        assert_eq!(lines.next().await.unwrap(), "one");
        assert_eq!(lines.next().await.unwrap(), "two");
        assert_eq!(lines.next().await.unwrap(), "thr\u{fffd}ee");
        assert_eq!(lines.next().await, Err(Failed::Unreachable("the server hung up")));
    }

    #[tokio::test]
    async fn a_server_can_neither_fill_the_memory_nor_talk_for_ever() {
        let mut endless = after(&vec![b'x'; 32 * 1024]).await;
        assert_eq!(endless.next().await, Err(Failed::Unreachable("a line too long")));
        let mut chatty = after(&b"* x\r\n".repeat(100)).await;
        for _ in 0..MOST {
            chatty.next().await.unwrap();
        }
        assert_eq!(chatty.next().await, Err(Failed::Unreachable("too many lines")));
    }

    #[tokio::test]
    async fn bytes_behind_starttls_would_be_believed_within_tls_if_they_were_kept() {
        let sent = b"220 go ahead\r\n235 2.7.0 you are in\r\n";
        let mut lines = after(sent).await;
        assert_eq!(lines.next().await.unwrap(), "220 go ahead");
        assert_eq!(lines.next().await.unwrap(), "235 2.7.0 you are in", "the attack");

        let mut lines = after(sent).await;
        lines.next().await.unwrap();
        assert!(lines.into_unread_stream().is_err(), "the guard");
    }
}
