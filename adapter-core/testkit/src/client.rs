//! A client that talks line by line.
//!
//! Never waits longer than [`PATIENCE`]. Invariant: what it says is sent as it is. Next: the tests of the adapters.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::identity::Identity;

/// Nothing here takes longer unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Talks line by line, and never waits for ever.
pub struct Client<S>(pub S);

impl Client<TcpStream> {
    /// To this address.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Shakes hands, trusting `identity` only.
    pub async fn secure(
        self,
        identity: &Identity,
    ) -> std::io::Result<Client<tokio_rustls::client::TlsStream<TcpStream>>> {
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let handshake = identity.connector().connect(name, self.0);
        timeout(PATIENCE, handshake).await.unwrap().map(Client)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends this as it is.
    pub async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next line without CR LF; empty at the end.
    pub async fn line(&mut self) -> String {
        self.raw_line().await.trim_end().to_owned()
    }

    /// The next line as it came; what there is of it at the end.
    pub async fn raw_line(&mut self) -> String {
        let mut line = vec![];
        while !line.ends_with(b"\r\n") {
            match timeout(PATIENCE, self.0.read_u8()).await.expect("a line in time") {
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(line).unwrap()
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = vec![];
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("an end in time");
        rest
    }
}

/// Waits until `what` holds; for things that happen in other tasks.
pub async fn eventually(what: impl Fn() -> bool) {
    let poll = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, poll).await.expect("it to happen in time");
}
