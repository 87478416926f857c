//! Between the contract's messages and the domain's values, one function each way.
//!
//! Never decides and never looks up. Invariant: what comes in is checked here, once, and named by its field if wrong.
//! Next: the doors in `grpc/` are five lines a method because of this.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ipnet::IpNet;
use prost_types::{Duration as ProtoDuration, Timestamp};
use tokenbroker_proto::v1;

use crate::clock::Time;
use crate::domain::mail::{MailHost, MailProtocol, SaslMechanism, TlsMode, valid_host};
use crate::domain::session::EndReason;
use crate::service::Error;
use crate::service::PageRequest;

/// A moment for the wire.
pub(super) fn timestamp(at: Time) -> Timestamp {
    let nanos = i32::try_from(at.millis().rem_euclid(1000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: at.seconds(), nanos }
}

/// A moment from the wire.
pub(super) fn time(field: &'static str, at: &Timestamp) -> Result<Time, Error> {
    let millis =
        at.seconds.checked_mul(1000).map(|millis| millis + i64::from(at.nanos / 1_000_000));
    millis
        .filter(|millis| (0..=253_402_300_799_000).contains(millis))
        .map(Time::from_millis)
        .ok_or_else(|| Error::invalid(field, "use a time between 1970 and 9999"))
}

/// A span from the wire: not negative, at most `most`.
pub(super) fn span(
    field: &'static str,
    given: Option<&ProtoDuration>,
    most: Duration,
) -> Result<Option<Duration>, Error> {
    let Some(given) = given else { return Ok(None) };
    let span = Duration::try_from(*given).ok().filter(|span| *span <= most);
    span.map(Some)
        .ok_or_else(|| Error::invalid(field, format!("use 0 to {} seconds", most.as_secs())))
}

/// A span for the wire.
pub(super) fn proto_span(span: Duration) -> ProtoDuration {
    ProtoDuration::try_from(span).unwrap_or_default()
}

/// A text with a bound on its length.
pub(super) fn bounded(field: &'static str, text: &str, most: usize) -> Result<String, Error> {
    let clean = !text.chars().any(char::is_control);
    if clean && text.chars().count() <= most {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(
        field,
        format!("use at most {most} characters, none of them control characters"),
    ))
}

/// Labels: at most 32, keys and values short and plain.
pub(super) fn labels(
    field: &'static str,
    given: &HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let plain = |text: &str| (1..=63).contains(&text.len()) && text.chars().all(allowed);
    if given.len() > 32 || !given.iter().all(|(key, value)| plain(key) && plain(value)) {
        let remedy = "use at most 32 labels; keys and values are 1 to 63 of a-z, 0-9, -, _ and .";
        return Err(Error::invalid(field, remedy));
    }
    Ok(given.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// CIDR ranges: at most 64. A lone address is a range of one.
pub(super) fn ip_ranges(field: &'static str, given: &[String]) -> Result<Vec<IpNet>, Error> {
    if given.len() > 64 {
        return Err(Error::invalid(field, "use at most 64 ranges"));
    }
    let one = |text: &String| {
        let net = text.parse::<IpNet>().map(|net| net.trunc());
        net.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(|_| {
            Error::invalid(
                field,
                format!("{text:?}: use a range such as 192.0.2.0/24 or 2001:db8::/32"),
            )
        })
    };
    given.iter().map(one).collect()
}

/// Protocols: at least one, each once.
pub(super) fn protocols(field: &'static str, given: &[i32]) -> Result<Vec<MailProtocol>, Error> {
    let mut protocols =
        given.iter().map(|number| protocol(field, *number)).collect::<Result<Vec<_>, _>>()?;
    protocols.sort_unstable();
    protocols.dedup();
    if protocols.is_empty() {
        return Err(Error::invalid(field, "name at least one of IMAP, SMTP and POP3"));
    }
    Ok(protocols)
}

/// One protocol.
pub(super) fn protocol(field: &'static str, number: i32) -> Result<MailProtocol, Error> {
    match v1::MailProtocol::try_from(number) {
        Ok(v1::MailProtocol::Imap) => Ok(MailProtocol::Imap),
        Ok(v1::MailProtocol::Smtp) => Ok(MailProtocol::Smtp),
        Ok(v1::MailProtocol::Pop3) => Ok(MailProtocol::Pop3),
        _ => Err(Error::invalid(field, "use IMAP, SMTP or POP3")),
    }
}

/// One protocol for the wire.
pub(super) const fn proto_protocol(protocol: MailProtocol) -> v1::MailProtocol {
    match protocol {
        MailProtocol::Imap => v1::MailProtocol::Imap,
        MailProtocol::Smtp => v1::MailProtocol::Smtp,
        MailProtocol::Pop3 => v1::MailProtocol::Pop3,
    }
}

/// Several protocols for the wire.
pub(super) fn proto_protocols(protocols: &[MailProtocol]) -> Vec<i32> {
    protocols.iter().map(|protocol| proto_protocol(*protocol).into()).collect()
}

/// One mechanism for the wire.
pub(super) const fn proto_mechanism(mechanism: SaslMechanism) -> v1::SaslMechanism {
    match mechanism {
        SaslMechanism::XOauth2 => v1::SaslMechanism::Xoauth2,
        SaslMechanism::OAuthBearer => v1::SaslMechanism::Oauthbearer,
        SaslMechanism::Plain => v1::SaslMechanism::Plain,
    }
}

/// Why a session ended, from the wire; `None` if it was not said, or by a later contract.
pub(super) const fn end_reason(reason: v1::SessionEndReason) -> Option<EndReason> {
    Some(match reason {
        v1::SessionEndReason::Unspecified => return None,
        v1::SessionEndReason::Finished => EndReason::Finished,
        v1::SessionEndReason::Broken => EndReason::Broken,
        v1::SessionEndReason::Idle => EndReason::Idle,
        v1::SessionEndReason::AdapterStopped => EndReason::AdapterStopped,
        v1::SessionEndReason::NoLogin => EndReason::NoLogin,
        v1::SessionEndReason::Revoked => EndReason::Revoked,
        v1::SessionEndReason::NeedsConsent => EndReason::NeedsConsent,
        v1::SessionEndReason::ContactAdmin => EndReason::ContactAdmin,
        v1::SessionEndReason::Operator => EndReason::Operator,
        v1::SessionEndReason::CutOff => EndReason::CutOff,
        v1::SessionEndReason::Lost => EndReason::Lost,
    })
}

/// Why a session ended, for the wire.
pub(super) const fn proto_end_reason(reason: EndReason) -> v1::SessionEndReason {
    match reason {
        EndReason::Finished => v1::SessionEndReason::Finished,
        EndReason::Broken => v1::SessionEndReason::Broken,
        EndReason::Idle => v1::SessionEndReason::Idle,
        EndReason::AdapterStopped => v1::SessionEndReason::AdapterStopped,
        EndReason::NoLogin => v1::SessionEndReason::NoLogin,
        EndReason::Revoked => v1::SessionEndReason::Revoked,
        EndReason::NeedsConsent => v1::SessionEndReason::NeedsConsent,
        EndReason::ContactAdmin => v1::SessionEndReason::ContactAdmin,
        EndReason::Operator => v1::SessionEndReason::Operator,
        EndReason::CutOff => v1::SessionEndReason::CutOff,
        EndReason::Lost => v1::SessionEndReason::Lost,
    }
}

/// A mail server from the wire.
pub(super) fn mail_host(field: &'static str, given: &v1::MailHost) -> Result<MailHost, Error> {
    let tls = match given.tls() {
        v1::TlsMode::Implicit => TlsMode::Implicit,
        v1::TlsMode::Starttls => TlsMode::StartTls,
        v1::TlsMode::PlainLoopback => TlsMode::PlainLoopback,
        v1::TlsMode::Unspecified => {
            return Err(Error::invalid(
                field,
                "say how the host is spoken to: IMPLICIT or STARTTLS",
            ));
        }
    };
    let port = u16::try_from(given.port).ok().filter(|port| *port > 0);
    let host = valid_host(&given.host).then(|| given.host.to_ascii_lowercase());
    let (Some(port), Some(host)) = (port, host) else {
        return Err(Error::invalid(field, "use a host name and a port from 1 to 65535"));
    };
    let host = MailHost { protocol: protocol(field, given.protocol)?, host, port, tls };
    if host.tls == TlsMode::PlainLoopback && !host.is_loopback() {
        return Err(Error::invalid(field, "plain text is for servers on loopback only"));
    }
    Ok(host)
}

/// A mail server for the wire.
pub(super) fn proto_mail_host(host: &MailHost) -> v1::MailHost {
    let tls = match host.tls {
        TlsMode::Implicit => v1::TlsMode::Implicit,
        TlsMode::StartTls => v1::TlsMode::Starttls,
        TlsMode::PlainLoopback => v1::TlsMode::PlainLoopback,
    };
    v1::MailHost {
        protocol: proto_protocol(host.protocol).into(),
        host: host.host.clone(),
        port: host.port.into(),
        tls: tls.into(),
    }
}

/// Which page of a list.
pub(super) fn page(size: i32, token: &str) -> Result<PageRequest, Error> {
    let wanted = PageRequest::new(size, token);
    wanted.ok_or_else(|| Error::invalid("page_token", "use next_page_token of the last answer"))
}

/// The etag of a version.
pub(super) fn etag(version: i64) -> String {
    format!("v{version}")
}

/// The version of an etag; empty means whichever.
pub(super) fn version(field: &'static str, etag: &str) -> Result<Option<i64>, Error> {
    if etag.is_empty() {
        return Ok(None);
    }
    let version = etag.strip_prefix('v').and_then(|number| number.parse().ok());
    version.map(Some).ok_or_else(|| Error::invalid(field, "send back the etag that you read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire() {
        let at = Time::from_millis(1_700_000_000_123);
        assert_eq!(time("t", &timestamp(at)).unwrap(), at);
        assert!(time("t", &Timestamp { seconds: i64::MAX, nanos: 0 }).is_err());
        assert!(time("t", &Timestamp { seconds: -1, nanos: 0 }).is_err());
    }

    #[test]
    fn a_negative_span_is_refused() {
        let day = Duration::from_secs(86_400);
        assert!(span("s", Some(&ProtoDuration { seconds: -1, nanos: 0 }), day).is_err());
        assert!(span("s", Some(&ProtoDuration { seconds: 90_000, nanos: 0 }), day).is_err());
        assert_eq!(span("s", None, day).unwrap(), None);
    }

    #[test]
    fn a_lone_address_is_a_range_of_one() {
        let ranges = ip_ranges("r", &["192.0.2.7".into(), "2001:db8::1/32".into()]).unwrap();
        assert_eq!(ranges[0].to_string(), "192.0.2.7/32");
        assert_eq!(ranges[1].to_string(), "2001:db8::/32");
        assert!(ip_ranges("r", &["example.com".into()]).is_err());
    }

    #[test]
    fn plain_text_to_a_far_host_is_refused() {
        let mut host = v1::MailHost {
            protocol: v1::MailProtocol::Imap.into(),
            host: "imap.example.com".into(),
            port: 143,
            tls: v1::TlsMode::PlainLoopback.into(),
        };
        assert!(mail_host("h", &host).is_err());
        host.host = "127.0.0.1".into();
        assert!(mail_host("h", &host).is_ok());
    }
}
