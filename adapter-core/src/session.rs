//! What the broker answers to a login, in the words of this crate.
//!
//! Never believes the broker's answer to be well-formed: whatever cannot be used is [`Malformed`], so `login` has only good
//! cases. Invariant: a [`Session`] names a host, a port and at least one mechanism. Next: `upstream` logs in with it.

use std::fmt;
use std::time::Duration;

use token_broker_client::{MailSession, Secret, Verdict, v1};

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
    pub secret: Secret,
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

impl TryFrom<Verdict> for Answer {
    type Error = Malformed;

    fn try_from(verdict: Verdict) -> Result<Self, Malformed> {
        match verdict {
            Verdict::Session(session) => session.try_into().map(Self::Session),
            Verdict::Denied(denial) => Ok(Self::Denied(denial.into())),
        }
    }
}

impl TryFrom<MailSession> for Session {
    type Error = Malformed;

    fn try_from(session: MailSession) -> Result<Self, Malformed> {
        let mechanisms: Vec<_> = match mechanism(session.mechanism) {
            Some(only) => vec![only],
            None => session.mechanisms.into_iter().filter_map(mechanism).collect(),
        };
        let upstream = session.upstream;
        let tls = match upstream.tls() {
            v1::TlsMode::Implicit => UpstreamTls::Implicit,
            v1::TlsMode::Starttls => UpstreamTls::StartTls,
            v1::TlsMode::PlainLoopback => UpstreamTls::PlainLoopback,
            v1::TlsMode::Unspecified => return Err(Malformed("TLS mode")),
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
            secret: session.secret,
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

fn mechanism(value: v1::SaslMechanism) -> Option<Mechanism> {
    match value {
        v1::SaslMechanism::Xoauth2 => Some(Mechanism::XOauth2),
        v1::SaslMechanism::Oauthbearer => Some(Mechanism::OAuthBearer),
        v1::SaslMechanism::Plain => Some(Mechanism::Plain),
        v1::SaslMechanism::Unspecified => None,
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

    fn answered(tls: v1::TlsMode, port: u32, mechanism: v1::SaslMechanism) -> MailSession {
        MailSession {
            session: "s".to_owned(),
            upstream: v1::MailHost { port, tls: tls.into(), ..Default::default() },
            mechanism,
            mechanisms: vec![],
            sasl_user: "ann".to_owned(),
            secret: Secret::new("t"),
            expire_time: None,
            initial_response: true,
            probe_after_login: false,
        }
    }

    #[test]
    fn an_answer_that_names_no_way_to_log_in_is_not_used() {
        use v1::{SaslMechanism as Sasl, TlsMode as Tls};
        for (answer, missing) in [
            (answered(Tls::Unspecified, 993, Sasl::Xoauth2), "TLS mode"),
            (answered(Tls::Implicit, 70_000, Sasl::Xoauth2), "port"),
            (answered(Tls::Implicit, 993, Sasl::Unspecified), "mechanism"),
        ] {
            assert_eq!(Session::try_from(answer).unwrap_err(), Malformed(missing));
        }
        assert!(Session::try_from(answered(Tls::Implicit, 993, Sasl::Xoauth2)).is_ok());
    }
}
