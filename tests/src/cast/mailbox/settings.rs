//! What the fake mail servers can be told about themselves.
//!
//! Plain data; it decides nothing. All of it may be changed at run time but the ports. Next: [`super::door`], which
//! obeys it.

use serde::{Deserialize, Serialize};

/// All knobs of the mail servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailboxSettings {
    /// Ports on 127.0.0.1; 0 picks a free one. They count at start only.
    pub ports: Ports,
    /// SASL mechanisms offered.
    pub mechanisms: Vec<Mechanism>,
    /// Whether IMAP offers and takes initial responses (RFC 4959).
    pub sasl_ir: bool,
    /// Whether a bad token is first answered with a JSON challenge (Google) or fails at once (Microsoft).
    pub challenge: bool,
    /// Whether the plain ports offer login before STARTTLS.
    pub plain_login: bool,
    /// Whether the IMAP greeting carries the capabilities (Exchange's does not).
    pub greeting_capability: bool,
    /// Whether a session ends when its access token does.
    pub ends_with_token: bool,
}

impl Default for MailboxSettings {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            mechanisms: vec![Mechanism::Xoauth2, Mechanism::Oauthbearer],
            sasl_ir: true,
            challenge: true,
            plain_login: true,
            greeting_capability: true,
            ends_with_token: false,
        }
    }
}

/// Where the servers listen on 127.0.0.1.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ports {
    /// IMAP, plain with STARTTLS.
    pub imap: u16,
    /// IMAP with implicit TLS.
    pub imaps: u16,
    /// SMTP submission, plain with STARTTLS.
    pub smtp: u16,
    /// SMTP submission with implicit TLS.
    pub smtps: u16,
}

/// A SASL mechanism that carries a bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mechanism {
    /// Google's and Microsoft's own.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

impl Mechanism {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of that name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Xoauth2, Self::Oauthbearer]
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name))
    }
}

/// Trouble that a mail server makes whatever the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Good tokens are refused like bad ones.
    Refuse,
    /// `NO [UNAVAILABLE]`, `454 4.7.0`: try again later.
    Unavailable,
    /// `NO [LIMIT]`, `421 4.7.0`: too many connections. IMAP sends the challenge of a bad token first, as Gmail does.
    Limit,
    /// The connection ends instead of an answer to the login.
    Drop,
    /// The connection ends without a greeting.
    DropGreeting,
    /// The greeting is a refusal: `* BYE`, `421`.
    Busy,
    /// The login works and the next command does not, as at Exchange: `BAD User is authenticated but not connected`.
    NotConnected,
}

impl Trouble {
    /// Whether it strikes at the greeting; the others strike at the login.
    pub fn is_early(self) -> bool {
        matches!(self, Self::DropGreeting | Self::Busy)
    }
}
