//! The way to a provider's server: dial, TLS, log in.
//!
//! Never says a word in clear to a server that is not on this machine, except to ask for STARTTLS. Invariant: dialling,
//! handshake and login together end when the caller says; whatever goes wrong on the way is [`Outcome::Unavailable`] and no
//! token's fault. Next: `drive` carries the provider's dialogue.

use std::io;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::dialogue::{Outcome, Protocol, Upstream};
use crate::drive::drive_provider;
use crate::limits::Limits;
use crate::session::{Session, UpstreamTls};
use crate::stream::{Side, Stream};

/// Dials.
#[derive(Clone)]
pub struct Dialler {
    connector: TlsConnector,
    limits: Limits,
}

impl Dialler {
    /// With these roots and bounds.
    pub fn new(connector: TlsConnector, limits: Limits) -> Self {
        Self { connector, limits }
    }

    /// Logs in with `session` before `until`; the connection comes along if that worked.
    pub async fn log_in(
        &self,
        protocol: &impl Protocol,
        session: &Session,
        until: Instant,
    ) -> (Outcome, Option<Stream>) {
        let attempt = Box::pin(self.attempt(protocol, session));
        match timeout_at(until, attempt).await {
            Ok(Ok((outcome @ Outcome::Ready(_), stream))) => (outcome, Some(stream)),
            Ok(Ok((outcome, _))) => (outcome, None),
            Ok(Err(error)) => (Outcome::Unavailable { said: error.to_string() }, None),
            Err(_) => (Outcome::Unavailable { said: "not logged in in time".to_owned() }, None),
        }
    }

    async fn attempt(
        &self,
        protocol: &impl Protocol,
        session: &Session,
    ) -> io::Result<(Outcome, Stream)> {
        let name = ServerName::try_from(session.host.clone())
            .map_err(|_| io::Error::other("not a server name"))?;
        let mut stream = timeout(self.limits.dial, dial(session)).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "the server does not pick up")
        })??;
        let side = || Side::Client(self.connector.clone(), name.clone());
        if session.tls == UpstreamTls::Implicit {
            stream = stream.secure(side(), self.limits.tls).await?;
        }
        let mut dialogue = protocol.provider(upstream(session));
        drive_provider(dialogue.as_mut(), stream, side, self.limits.tls).await
    }
}

fn upstream(session: &Session) -> Upstream {
    Upstream {
        host: session.host.clone(),
        port: session.port,
        starttls: session.tls == UpstreamTls::StartTls,
        user: session.user.clone(),
        secret: session.secret.clone(),
        mechanisms: session.mechanisms.clone(),
        initial_response: session.initial_response,
        probe_after_login: session.probe_after_login,
    }
}

async fn dial(session: &Session) -> io::Result<Stream> {
    let mut last = io::Error::other("the server's name has no address");
    for address in lookup_host((session.host.as_str(), session.port)).await? {
        if session.tls == UpstreamTls::PlainLoopback && !is_here(address) {
            last = io::Error::other("plain text is for servers on this machine only");
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(tcp) => return Stream::plain(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_here(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
