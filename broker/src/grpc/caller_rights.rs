//! A caller's rights and identities, from the wire and for it, checked part by part.
//!
//! Never decides who may have them. Invariant: what could only be a mistake (a selector that selects nothing, a domain that
//! is none, a pattern that fits everybody) is refused with its field and the remedy. Next: `rights.rs` builds a caller of it.

use std::time::Duration;

use tokenbroker_proto::v1::{self, caller_identity::Kind};

use super::convert::{labels, proto_span, protocol, span};
use crate::domain::caller::{CallClass, Right, Selector};
use crate::domain::caller_identity::{BadIdentity, CallerIdentity, TokenRule};
use crate::domain::ids::{Mailbox, ResourceId};
use crate::domain::mail::MailProtocol;
use crate::service::Error;

/// The longest interval between two tokens of one account.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A caller's rights.
pub(super) fn rights(given: &[v1::Right]) -> Result<Vec<Right>, Error> {
    if given.len() > 64 {
        return Err(Error::invalid("caller.rights", "use at most 64"));
    }
    given.iter().map(right).collect()
}

fn right(given: &v1::Right) -> Result<Right, Error> {
    let Some(accounts) = &given.accounts else {
        return Err(Error::invalid("caller.rights.accounts", "say which accounts"));
    };
    if given.audiences.is_empty() {
        let remedy = "say for which targets, such as `mail`; `*` means all";
        return Err(Error::invalid("caller.rights.audiences", remedy));
    }
    let words = |text: &&String| {
        (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let remedy = "use a target such as `mail`, or `*` for all";
    all_of("caller.rights.audiences", &given.audiences, remedy, words)?;
    all_of(
        "caller.rights.scopes",
        &given.scopes,
        "use a scope of printable ASCII without blanks",
        |scope| {
            (1..=512).contains(&scope.len())
                && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        },
    )?;
    Ok(Right {
        accounts: selector(accounts)?,
        audiences: given.audiences.clone(),
        calls: given.calls.iter().map(|number| class(*number)).collect::<Result<_, _>>()?,
        scopes: given.scopes.clone(),
    })
}

fn selector(given: &v1::AccountSelector) -> Result<Selector, Error> {
    let id = |text: &&String| ResourceId::parse(text).is_ok();
    let remedy = "use the id of an account, as `account list` shows it";
    all_of("caller.rights.accounts.accounts", &given.accounts, remedy, id)?;
    let remedy = "use a domain such as example.com; mailboxes in its subdomains are not meant";
    let domain = |text: &&String| {
        let mailbox = Mailbox::parse(&format!("x@{text}"));
        !text.contains('*') && mailbox.is_ok_and(|it| it.domain() == text.to_ascii_lowercase())
    };
    all_of("caller.rights.accounts.domains", &given.domains, remedy, domain)?;
    let selector = Selector {
        all: given.all,
        accounts: given.accounts.clone(),
        domains: given.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
        labels: labels("caller.rights.accounts.labels", &given.labels)?,
    };
    if selector == Selector::default() {
        let remedy = "it selects nothing: say `all` or which";
        return Err(Error::invalid("caller.rights.accounts", remedy));
    }
    Ok(selector)
}

/// Refuses the first text that is not as it should be, and more than 1000 of them.
fn all_of(
    field: &'static str,
    given: &[String],
    remedy: &str,
    good: impl Fn(&&String) -> bool,
) -> Result<(), Error> {
    if given.len() > 1000 {
        return Err(Error::invalid(field, "use at most 1000"));
    }
    let Some(bad) = given.iter().find(|text| !good(text)) else { return Ok(()) };
    let shown: String = bad.chars().take(80).collect();
    Err(Error::invalid(field, format!("{shown:?}: {remedy}")))
}

/// A class that is not known is refused: left out, it would leave a right to everything.
fn class(number: i32) -> Result<CallClass, Error> {
    match v1::CallClass::try_from(number) {
        Ok(v1::CallClass::Tokens) => Ok(CallClass::Tokens),
        Ok(v1::CallClass::Status) => Ok(CallClass::Status),
        _ => Err(Error::invalid("caller.rights.calls", "use TOKENS or STATUS")),
    }
}

/// An adapter's protocols.
pub(super) fn caller_protocols(given: &[i32]) -> Result<Vec<MailProtocol>, Error> {
    given.iter().map(|number| protocol("caller.protocols", *number)).collect()
}

/// The least time between two tokens of one account.
pub(super) fn min_interval(caller: &v1::Caller) -> Result<Duration, Error> {
    let given = span("caller.min_interval", caller.min_interval.as_ref(), LONGEST_INTERVAL)?;
    Ok(Duration::from_millis(given.map_or(0, |given| given.as_millis() as u64)))
}

/// What a caller may show instead of a key.
pub(super) fn identities(given: &[v1::CallerIdentity]) -> Result<Vec<CallerIdentity>, Error> {
    if given.len() > 32 {
        return Err(Error::invalid("caller.identities", "use at most 32"));
    }
    let mut all = Vec::with_capacity(given.len());
    for one in given {
        let one = identity(one)?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

fn identity(given: &v1::CallerIdentity) -> Result<CallerIdentity, Error> {
    let named = |field| move |BadIdentity(told)| Error::invalid(field, told);
    match &given.kind {
        Some(Kind::CertificateDns(name)) => {
            CallerIdentity::dns(name).map_err(named("caller.identities.certificate_dns"))
        }
        Some(Kind::CertificateUri(uri)) => {
            CallerIdentity::uri(uri).map_err(named("caller.identities.certificate_uri"))
        }
        Some(Kind::Token(rule)) => CallerIdentity::token(TokenRule {
            issuer: rule.issuer.clone(),
            subject: rule.subject.clone(),
            claims: rule.claims.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        })
        .map_err(named("caller.identities.token")),
        None => Err(Error::invalid(
            "caller.identities",
            "say certificate_dns, certificate_uri or token",
        )),
    }
}

/// A right for the wire.
pub(super) fn pack_right(right: Right) -> v1::Right {
    let accounts = v1::AccountSelector {
        all: right.accounts.all,
        accounts: right.accounts.accounts,
        domains: right.accounts.domains,
        labels: right.accounts.labels.into_iter().collect(),
    };
    let class = |class: CallClass| match class {
        CallClass::Tokens => v1::CallClass::Tokens.into(),
        CallClass::Status => v1::CallClass::Status.into(),
    };
    v1::Right {
        accounts: Some(accounts),
        audiences: right.audiences,
        calls: right.calls.into_iter().map(class).collect(),
        scopes: right.scopes,
    }
}

/// An identity for the wire.
pub(super) fn pack_identity(identity: CallerIdentity) -> v1::CallerIdentity {
    let kind = match identity {
        CallerIdentity::CertificateDns(name) => Kind::CertificateDns(name),
        CallerIdentity::CertificateUri(uri) => Kind::CertificateUri(uri),
        CallerIdentity::Token(TokenRule { issuer, subject, claims }) => {
            Kind::Token(v1::TokenRule { issuer, subject, claims: claims.into_iter().collect() })
        }
    };
    v1::CallerIdentity { kind: Some(kind) }
}

/// The interval for the wire; absent if there is none.
pub(super) fn pack_interval(interval: Duration) -> Option<prost_types::Duration> {
    (!interval.is_zero()).then(|| proto_span(interval))
}
