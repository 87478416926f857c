//! The way to a provider's server: dial, TLS, log in.
//!
//! Never says a word in clear to a server that is not on this machine, except to ask for STARTTLS. Invariant: dialling,
//! handshake and login together end when the caller says; whatever goes wrong on the way is [`NoLogin::Server`] and no
//! token's fault. Next: `drive` carries the provider's dialogue.

use std::io;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::dialogue::{Outcome, Protocol, Ready, Upstream};
use crate::drive::drive_provider;
use crate::limits::Limits;
use crate::session::{Session, UpstreamTls};
use crate::stream::{Side, Stream};

/// Whose fault it is that a login upstream did not work, and what was said about it; for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLogin {
    /// The server refuses the token.
    #[error("the token is refused: {0}")]
    Token(String),
    /// The server is away, busy, or not to be trusted.
    #[error("the server cannot be used: {0}")]
    Server(String),
    /// The server has too many connections of ours.
    #[error("too many connections: {0}")]
    Limit(String),
}

/// Dials.
#[derive(Clone)]
pub struct Dialler {
    connector: TlsConnector,
    helo_name: String,
    limits: Limits,
}

impl Dialler {
    /// With these roots and bounds; `helo_name` is what the adapter calls itself.
    pub fn new(connector: TlsConnector, helo_name: String, limits: Limits) -> Self {
        Self { connector, helo_name, limits }
    }

    /// Logs in with `session` before `until`.
    ///
    /// # Errors
    /// [`NoLogin`]; the connection is closed then.
    pub async fn log_in(
        &self,
        protocol: &impl Protocol,
        session: &Session,
        until: Instant,
    ) -> Result<(Ready, Stream), NoLogin> {
        let attempt = Box::pin(self.attempt(protocol, session));
        let (outcome, stream) = match timeout_at(until, attempt).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(error)) => return Err(NoLogin::Server(error.to_string())),
            Err(_) => return Err(NoLogin::Server("not logged in in time".to_owned())),
        };
        match outcome {
            Outcome::Ready(ready) => Ok((ready, stream)),
            Outcome::Refused { said } => Err(NoLogin::Token(said)),
            Outcome::Unavailable { said } => Err(NoLogin::Server(said)),
            Outcome::Limit { said } => Err(NoLogin::Limit(said)),
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
        let mut dialogue = protocol.provider(self.upstream(session));
        drive_provider(dialogue.as_mut(), stream, side, self.limits.tls).await
    }

    fn upstream(&self, session: &Session) -> Upstream {
        Upstream {
            host: session.host.clone(),
            port: session.port,
            starttls: session.tls == UpstreamTls::StartTls,
            helo_name: self.helo_name.clone(),
            user: session.user.clone(),
            secret: Zeroizing::new(session.secret.expose().to_owned()),
            mechanisms: session.mechanisms.clone(),
            initial_response: session.initial_response,
            probe_after_login: session.probe_after_login,
        }
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

#[cfg(test)]
mod tests {
    use token_broker_client::Secret;

    use super::*;
    use crate::dialogue::Mechanism;

    #[tokio::test]
    async fn plain_text_is_not_even_dialled_off_this_machine() {
        let mut session = Session {
            id: "s".to_owned(),
            // Nobody has this address (RFC 5737).
            host: "192.0.2.1".to_owned(),
            port: 143,
            tls: UpstreamTls::PlainLoopback,
            user: "ann".to_owned(),
            secret: Secret::new("t"),
            mechanisms: vec![Mechanism::XOauth2],
            initial_response: true,
            probe_after_login: false,
        };
        let refused = dial(&session).await.unwrap_err().to_string();
        assert_eq!(refused, "plain text is for servers on this machine only");
        let here = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        session.host = "127.0.0.1".to_owned();
        session.port = here.local_addr().unwrap().port();
        dial(&session).await.unwrap();
    }
}
