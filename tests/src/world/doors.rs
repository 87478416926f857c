//! Where broker and adapters listen, and whether they answer yet.
//!
//! Next: [`super::settings`] writes the addresses into the configuration files.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ports::free;

const DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_MAX: u64 = 4 * 1024 * 1024;

/// The broker's listeners.
#[derive(Clone, Copy, Debug)]
pub struct BrokerDoors {
    /// gRPC for services and adapters.
    pub grpc: SocketAddr,
    /// gRPC for operators.
    pub admin: SocketAddr,
    /// HTTP for browsers.
    pub http: SocketAddr,
    /// Health and metrics.
    pub ops: SocketAddr,
}

impl BrokerDoors {
    /// Picks free ports.
    ///
    /// # Errors
    /// All are taken.
    pub fn pick() -> Result<Self> {
        Ok(Self { grpc: free()?, admin: free()?, http: free()?, ops: free()? })
    }

    /// Whether the broker says that it is ready.
    pub async fn is_ready(&self) -> bool {
        fetch(self.ops, "/readyz").await.is_ok_and(|(status, _)| status == 200)
    }

    /// The metrics, as Prometheus gets them.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn metrics(&self) -> Result<String> {
        Ok(fetch(self.ops, "/metrics").await?.1)
    }

    /// How browsers reach it. `localhost`, since that is what `brokerctl` and cookies are made for.
    pub fn public_url(&self) -> String {
        format!("http://localhost:{}", self.http.port())
    }
}

/// An adapter's listeners.
#[derive(Clone, Copy, Debug)]
pub struct AdapterDoors {
    /// In clear, without TLS.
    pub plain: SocketAddr,
    /// In clear until STARTTLS.
    pub starttls: SocketAddr,
    /// TLS from the first byte.
    pub tls: SocketAddr,
    /// Health and metrics.
    pub ops: SocketAddr,
}

impl AdapterDoors {
    /// Picks free ports.
    ///
    /// # Errors
    /// All are taken.
    pub fn pick() -> Result<Self> {
        Ok(Self { plain: free()?, starttls: free()?, tls: free()?, ops: free()? })
    }

    /// Whether the adapter says that it is ready.
    pub async fn is_ready(&self) -> bool {
        fetch(self.ops, "/readyz").await.is_ok_and(|(status, _)| status == 200)
    }

    /// The metrics, as Prometheus gets them.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn metrics(&self) -> Result<String> {
        Ok(fetch(self.ops, "/metrics").await?.1)
    }
}

/// Asks by hand for `path`; the status and the body, at most 4 MiB.
///
/// # Errors
/// Nobody answers in 10 seconds, or not in HTTP.
pub async fn fetch(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(DEADLINE, asked).await??;
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no header")?;
    Ok((status, body.to_owned()))
}
