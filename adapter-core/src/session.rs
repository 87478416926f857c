//! What the broker answers to a login, in the words of this crate.
//!
//! Never believes the broker's answer to be well-formed: whatever cannot be used is [`Malformed`], so `login` has only good
//! cases. Invariant: a [`Session`] names a host, a port and at least one mechanism. Next: `upstream` logs in with it.

use std::fmt;
use std::time::Duration;

use tokenbroker_proto::v1;
use zeroize::Zeroizing;

use crate::dialogue::{Blame, Mechanism};

/// Longest delay of a denial that is kept.
const MAX_DELAY: Duration = Duration::from_secs(15);

/// The broker's answer.
#[derive(Debug)]
pub enum Answer {
    /// Log in upstream with this.
    Session(Session),
    /// Refuse the client with this.
    Denied(Denial),
}

/// Everything an upstream login needs.
pub struct Session {
    /// Names it towards the broker.
    pub id: String,
    /// The mail server's name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection begins.
    pub tls: UpstreamTls,
    /// The user name there.
    pub user: String,
    /// Access token or app password.
    pub secret: Zeroizing<String>,
    /// What to log in with, best first.
    pub mechanisms: Vec<Mechanism>,
    /// Whether an initial response may be sent.
    pub initial_response: bool,
    /// Whether an OK has to be proven.
    pub probe_after_login: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} at {}:{})", self.id, self.host, self.port)
    }
}

/// How a connection to a mail server begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// In TLS.
    Implicit,
    /// In clear, with STARTTLS before anything else.
    StartTls,
    /// In clear, to a server on this machine only.
    PlainLoopback,
}

/// Why a login is refused, as much as an adapter may know.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose fault it is.
    pub blame: Blame,
    /// Answer no sooner than this; at most 15 seconds.
    pub delay: Duration,
    /// For the client's user.
    pub text: String,
}

/// An answer that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's answer has no usable {0}")]
pub struct Malformed(&'static str);

impl TryFrom<v1::OpenSessionResponse> for Answer {
    type Error = Malformed;

    fn try_from(response: v1::OpenSessionResponse) -> Result<Self, Malformed> {
        use v1::open_session_response::Outcome;
        match response.outcome {
            Some(Outcome::Session(session)) => session.try_into().map(Self::Session),
            Some(Outcome::Denial(denial)) => Ok(Self::Denied(denial.into())),
            None => Err(Malformed("outcome")),
        }
    }
}

impl TryFrom<v1::RenewSessionResponse> for Answer {
    type Error = Malformed;

    fn try_from(response: v1::RenewSessionResponse) -> Result<Self, Malformed> {
        use v1::renew_session_response::Outcome;
        match response.outcome {
            Some(Outcome::Session(session)) => session.try_into().map(Self::Session),
            Some(Outcome::Denial(denial)) => Ok(Self::Denied(denial.into())),
            None => Err(Malformed("outcome")),
        }
    }
}

impl TryFrom<v1::MailSession> for Session {
    type Error = Malformed;

    fn try_from(session: v1::MailSession) -> Result<Self, Malformed> {
        let mechanisms = match mechanism(session.mechanism) {
            Some(only) => vec![only],
            None => session.mechanisms.iter().copied().filter_map(mechanism).collect(),
        };
        let upstream = session.upstream.ok_or(Malformed("mail server"))?;
        let tls = match v1::TlsMode::try_from(upstream.tls) {
            Ok(v1::TlsMode::Implicit) => UpstreamTls::Implicit,
            Ok(v1::TlsMode::Starttls) => UpstreamTls::StartTls,
            Ok(v1::TlsMode::PlainLoopback) => UpstreamTls::PlainLoopback,
            _ => return Err(Malformed("TLS mode")),
        };
        let port = u16::try_from(upstream.port).map_err(|_| Malformed("port"))?;
        if mechanisms.is_empty() {
            return Err(Malformed("mechanism"));
        }
        Ok(Self {
            id: session.session,
            host: upstream.host,
            port,
            tls,
            user: session.sasl_user,
            secret: Zeroizing::new(session.secret),
            mechanisms,
            initial_response: session.initial_response,
            probe_after_login: session.probe_after_login,
        })
    }
}

impl From<v1::Denial> for Denial {
    fn from(denial: v1::Denial) -> Self {
        let blame = match denial.class() {
            v1::DenialClass::BadCredential => Blame::BadCredential,
            v1::DenialClass::NeedsConsent => Blame::NeedsConsent,
            v1::DenialClass::ContactAdmin => Blame::ContactAdmin,
            v1::DenialClass::Limit => Blame::Limit,
            // A class of a later contract: whatever it is, it is not the user's password.
            v1::DenialClass::Unavailable | v1::DenialClass::Unspecified => Blame::Unavailable,
        };
        let delay = denial.delay.and_then(|delay| Duration::try_from(delay).ok());
        Self { blame, delay: delay.unwrap_or_default().min(MAX_DELAY), text: denial.text }
    }
}

fn mechanism(value: i32) -> Option<Mechanism> {
    match v1::SaslMechanism::try_from(value) {
        Ok(v1::SaslMechanism::Xoauth2) => Some(Mechanism::XOauth2),
        Ok(v1::SaslMechanism::Oauthbearer) => Some(Mechanism::OAuthBearer),
        Ok(v1::SaslMechanism::Plain) => Some(Mechanism::Plain),
        Ok(v1::SaslMechanism::Unspecified) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_a_later_contract_is_not_told_as_a_wrong_password() {
        let denial = v1::Denial { class: 99, ..Default::default() };
        assert_eq!(Denial::from(denial).blame, Blame::Unavailable);
    }

    #[test]
    fn an_answer_without_a_server_or_a_mechanism_is_not_used() {
        let empty = v1::MailSession::default();
        assert_eq!(Session::try_from(empty).unwrap_err(), Malformed("mail server"));
        let upstream = v1::MailHost { port: 993, tls: 1, ..Default::default() };
        let session = v1::MailSession { upstream: Some(upstream), ..Default::default() };
        assert_eq!(Session::try_from(session).unwrap_err(), Malformed("mechanism"));
    }
}
