//! Mail protocols and the servers that speak them.
//!
//! Never opens a connection. Invariant: a [`MailHost`] round-trips through its text form, which is what is stored and
//! hashed. Next: `app` overrides a preset's hosts with these, `service/open_session` hands one to an adapter.

use std::fmt;

use serde::Deserialize;

/// A mail protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailProtocol {
    /// RFC 3501, RFC 9051.
    Imap,
    /// Message submission, RFC 6409.
    Smtp,
    /// RFC 1939.
    Pop3,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// TLS from the first byte.
    #[serde(rename = "tls")]
    Implicit,
    /// STARTTLS, required.
    StartTls,
    /// No TLS, for a server on loopback only.
    #[serde(rename = "plain")]
    PlainLoopback,
}

/// A SASL mechanism towards a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SaslMechanism {
    /// Google's and Microsoft's.
    XOauth2,
    /// RFC 7628.
    OAuthBearer,
    /// RFC 4616.
    Plain,
}

/// A mail server. Its text form is `imap+tls://host:port`, `smtp+starttls://..`, `imap+plain://..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailHost {
    /// What it speaks.
    pub protocol: MailProtocol,
    /// Its name, also the one its certificate must carry.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: TlsMode,
}

impl MailProtocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Imap, Self::Smtp, Self::Pop3];

    /// As stored and as settings say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
        }
    }

    /// From the store or settings.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == text)
    }
}

impl TlsMode {
    /// As stored and as presets say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Implicit => "tls",
            Self::StartTls => "starttls",
            Self::PlainLoopback => "plain",
        }
    }

    /// From the store or a preset.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Implicit, Self::StartTls, Self::PlainLoopback]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

impl SaslMechanism {
    /// As presets say it and servers offer it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XOauth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
        }
    }

    /// From a preset.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::XOauth2, Self::OAuthBearer, Self::Plain]
            .into_iter()
            .find(|mechanism| mechanism.as_str() == text)
    }
}

impl MailHost {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, place) = text.split_once("://")?;
        let (protocol, tls) = scheme.split_once('+')?;
        let (host, port) = place.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let protocol = MailProtocol::parse(protocol)?;
        let tls = TlsMode::parse(tls)?;
        valid_host(host).then(|| Self { protocol, host: host.to_owned(), port, tls })
    }

    /// Whether the host is this machine, so that plain text harms nobody.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Whether `host` can be a host name or address: at most 253 letters, digits, dots, hyphens, or colons of an address.
pub fn valid_host(host: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    !host.is_empty() && host.len() <= 253 && host.chars().all(allowed)
}

impl fmt::Display for MailHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host, port, tls } = self;
        write!(f, "{}+{}://{host}:{port}", protocol.as_str(), tls.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_survives_its_text_form() {
        for text in ["imap+tls://imap.gmail.com:993", "smtp+starttls://smtp.office365.com:587"] {
            assert_eq!(MailHost::parse(text).unwrap().to_string(), text);
        }
        for bad in
            ["imap://x:1", "imap+tls://:993", "imap+tls://x:0", "imap+tls://a b:1", "x+tls://h:1"]
        {
            assert_eq!(MailHost::parse(bad), None, "{bad}");
        }
    }
}
