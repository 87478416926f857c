//! Words that several commands take, and what they mean on the wire.

use clap::ValueEnum;
use token_broker_client::v1::{MailHost, MailProtocol, TlsMode};

/// A mail protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Reading mail
    Imap,
    /// Sending mail
    Smtp,
    /// Fetching mail
    Pop3,
}

impl From<Protocol> for MailProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap,
            Protocol::Smtp => Self::Smtp,
            Protocol::Pop3 => Self::Pop3,
        }
    }
}

/// Numbers for the wire.
pub(crate) fn protocols(words: &[Protocol]) -> Vec<i32> {
    words.iter().map(|word| MailProtocol::from(*word).into()).collect()
}

/// Reads `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err(format!("{text:?} is no label; write it like team=sales")),
    }
}

/// Reads `imaps://HOST:PORT` (TLS), `smtp://HOST:PORT` (STARTTLS) or `imap+plain://127.0.0.1:PORT`.
pub(crate) fn mail_host(text: &str) -> Result<MailHost, String> {
    let wrong = || {
        format!(
            "{text:?} is no mail server; write imaps://HOST:993 (TLS) or smtp://HOST:587 (STARTTLS)"
        )
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let (protocol, tls) = match url.scheme() {
        "imaps" => (MailProtocol::Imap, TlsMode::Implicit),
        "imap" => (MailProtocol::Imap, TlsMode::Starttls),
        "imap+plain" => (MailProtocol::Imap, TlsMode::PlainLoopback),
        "smtps" => (MailProtocol::Smtp, TlsMode::Implicit),
        "smtp" => (MailProtocol::Smtp, TlsMode::Starttls),
        "smtp+plain" => (MailProtocol::Smtp, TlsMode::PlainLoopback),
        "pop3s" => (MailProtocol::Pop3, TlsMode::Implicit),
        "pop3" => (MailProtocol::Pop3, TlsMode::Starttls),
        "pop3+plain" => (MailProtocol::Pop3, TlsMode::PlainLoopback),
        _ => return Err(wrong()),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let port = url.port().ok_or_else(wrong)?;
    let bare = matches!(url.path(), "" | "/") && url.username().is_empty() && url.query().is_none();
    bare.then(|| MailHost {
        protocol: protocol.into(),
        host: host.trim_start_matches('[').trim_end_matches(']').into(),
        port: port.into(),
        tls: tls.into(),
    })
    .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_read_with_protocol_and_tls() {
        let host = mail_host("imaps://imap.example.com:993").unwrap();
        assert_eq!((host.protocol(), host.tls()), (MailProtocol::Imap, TlsMode::Implicit));
        assert_eq!((host.host.as_str(), host.port), ("imap.example.com", 993));
        assert_eq!(mail_host("smtp://h:587").unwrap().tls(), TlsMode::Starttls);
        assert_eq!(mail_host("imap+plain://[::1]:143").unwrap().host, "::1");
        for wrong in ["h:993", "imaps://h", "https://h:1", "imaps://u@h:1", "imaps://h:1/x", ""] {
            assert!(mail_host(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_label_is_key_and_value() {
        assert_eq!(label("team=sales"), Ok(("team".into(), "sales".into())));
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("team").is_err() && label("=x").is_err());
    }
}
