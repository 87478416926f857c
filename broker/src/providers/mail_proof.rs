//! One real login as proof that a fresh grant opens its mailbox.
//!
//! Never reads, selects or sends anything: it logs in and leaves. Never speaks in clear off loopback. Invariant: every wait
//! is under one deadline and every line and answer is bounded, and only the server's own no is [`Proof::Refused`];
//! whatever is unclear is [`Proof::Unreachable`], so an outage is not told as the owner's mistake (P8).
//! The walk: [`lines`] (bounded reading) -> [`imap`] or [`smtp`] (the words) -> [`sasl`] (what is said about the token).

mod imap;
mod lines;
mod sasl;
mod smtp;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::domain::mail::{MailHost, MailProtocol, SaslMechanism, TlsMode};
use crate::domain::provider::MailServer;
use crate::domain::secret::Secret;
use lines::Lines;

/// What a login proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The mailbox is open to this token.
    Opened,
    /// The server answered, and said no to this user with this token.
    Refused,
    /// Nothing was proven: no connection, no time, a passing fault or an answer that makes no sense.
    Unreachable,
}

/// Logs in once. Clones share everything.
#[derive(Clone, Debug)]
pub struct MailProof {
    tls: Arc<ClientConfig>,
    deadline: Duration,
}

/// Why a login did not open the mailbox. The words are ours and hold nothing of user or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Refused,
    Unreachable(&'static str),
}

/// Who logs in, with what.
struct Login<'a> {
    server: &'a MailServer,
    user: &'a str,
    token: &'a Secret,
}

impl MailProof {
    /// Proves over TLS with these roots (TLS 1.2 or newer), within `deadline` for connection and dialogue together; 15 s
    /// are enough for every server known. An ALPN list meant for HTTP is left out.
    pub fn new(roots: Arc<ClientConfig>, deadline: Duration) -> Self {
        let mut tls = Arc::unwrap_or_clone(roots);
        tls.alpn_protocols.clear();
        Self { tls: Arc::new(tls), deadline }
    }

    /// Logs in to `server` as `user` with an access token, and leaves.
    pub async fn log_in(&self, server: &MailServer, user: &str, token: &Secret) -> Proof {
        if !is_sayable(user) || !is_sayable(token.expose()) {
            return Proof::Refused;
        }
        let login = Login { server, user, token };
        let ended = tokio::time::timeout(self.deadline, self.attempt(&login)).await;
        match ended.unwrap_or(Err(Failed::Unreachable("the deadline passed"))) {
            Ok(()) => Proof::Opened,
            Err(Failed::Refused) => Proof::Refused,
            Err(Failed::Unreachable(why)) => {
                tracing::info!(server = %server.host, why, "a mail login proved nothing");
                Proof::Unreachable
            }
        }
    }

    async fn attempt(&self, login: &Login<'_>) -> Result<(), Failed> {
        let host = &login.server.host;
        let mut lines = self.dial(host).await?;
        let upgrade = host.tls == TlsMode::StartTls;
        match host.protocol {
            MailProtocol::Imap => {
                imap::greeting(&mut lines).await?;
                if upgrade {
                    imap::ask_for_tls(&mut lines).await?;
                    lines = self.secure(lines, host).await?;
                }
                imap::log_in(&mut lines, login).await
            }
            MailProtocol::Smtp => {
                smtp::greeting(&mut lines).await?;
                if upgrade {
                    smtp::ask_for_tls(&mut lines).await?;
                    lines = self.secure(lines, host).await?;
                }
                smtp::log_in(&mut lines, login).await
            }
            MailProtocol::Pop3 => Err(Failed::Unreachable("no proof over POP3")),
        }
    }

    async fn dial(&self, host: &MailHost) -> Result<Lines, Failed> {
        let dialled = TcpStream::connect((host.host.as_str(), host.port)).await;
        let stream = dialled.map_err(|_| Failed::Unreachable("no connection"))?;
        let peer = stream.peer_addr().map_err(|_| Failed::Unreachable("no connection"))?;
        match host.tls {
            TlsMode::Implicit => self.secure(Lines::new(Box::new(stream)), host).await,
            TlsMode::StartTls => Ok(Lines::new(Box::new(stream))),
            TlsMode::PlainLoopback if host.is_loopback() && peer.ip().is_loopback() => {
                Ok(Lines::new(Box::new(stream)))
            }
            TlsMode::PlainLoopback => Err(Failed::Unreachable("plain text off loopback")),
        }
    }

    /// Puts TLS around a connection. What was read before belongs to nobody we know, so there may be none of it.
    async fn secure(&self, lines: Lines, host: &MailHost) -> Result<Lines, Failed> {
        let stream = lines.into_unread_stream()?;
        let name = ServerName::try_from(host.host.clone());
        let name = name.map_err(|_| Failed::Unreachable("not a TLS name"))?;
        let secured = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        let secured = secured.map_err(|_| Failed::Unreachable("no TLS"))?;
        Ok(Lines::new(Box::new(secured)))
    }
}

impl Login<'_> {
    /// The first of the server's mechanisms that carries a token and that it `offers` today.
    fn mechanism(&self, offers: impl Fn(&str) -> bool) -> Result<SaslMechanism, Failed> {
        let carries_token = |it: &SaslMechanism| *it != SaslMechanism::Plain;
        let mut wanted = self.server.sasl.iter().copied().filter(carries_token);
        let found = wanted.find(|mechanism| offers(mechanism.as_str()));
        found.ok_or(Failed::Unreachable("the server offers no mechanism for tokens"))
    }

    /// The SASL message for `mechanism`, in base64.
    fn response(&self, mechanism: SaslMechanism) -> Secret {
        sasl::response(mechanism, self.user, self.token, &self.server.host)
    }
}

/// Whether `text` can stand in a SASL message: a control character would end a field and begin another.
fn is_sayable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
