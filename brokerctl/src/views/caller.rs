//! Callers as they are shown.

use std::collections::BTreeMap;

use serde::Serialize;
use token_broker_client::v1::{self, caller_identity::Kind};

use super::{joined, ordered, protocols, some, word};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// A caller, without its keys.
#[derive(Serialize)]
pub(crate) struct CallerView {
    name: String,
    id: String,
    display_name: Option<String>,
    /// `admin`, `operator`, `service`, `adapter`.
    role: Option<String>,
    rights: Vec<RightView>,
    protocols: Vec<String>,
    ip_ranges: Vec<String>,
    identities: Vec<IdentityView>,
    min_interval: Option<String>,
    keys: Vec<KeyView>,
    revoked: bool,
    create_time: Option<String>,
    etag: String,
}

#[derive(Serialize)]
struct RightView {
    all: bool,
    accounts: Vec<String>,
    domains: Vec<String>,
    labels: BTreeMap<String, String>,
    audiences: Vec<String>,
    /// `tokens`, `status`; empty means tokens.
    calls: Vec<String>,
    scopes: Vec<String>,
}

/// `certificate_dns`, `certificate_uri`, or issuer and subject.
#[derive(Default, Serialize)]
struct IdentityView {
    certificate_dns: Option<String>,
    certificate_uri: Option<String>,
    token_issuer: Option<String>,
    token_subject: Option<String>,
    token_claims: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct KeyView {
    key_id: String,
    create_time: Option<String>,
    expire_time: Option<String>,
    revoked: bool,
    last_use_time: Option<String>,
}

impl From<v1::Caller> for CallerView {
    fn from(caller: v1::Caller) -> Self {
        Self {
            id: names::id(&caller.name).into(),
            role: word(caller.role().as_str_name(), "CALLER_ROLE_"),
            protocols: protocols(caller.protocols()),
            min_interval: caller.min_interval.map(|interval| interval.to_string()),
            identities: caller.identities.into_iter().map(Into::into).collect(),
            name: caller.name,
            display_name: some(caller.display_name),
            rights: caller.rights.into_iter().map(Into::into).collect(),
            ip_ranges: caller.ip_ranges,
            keys: caller.keys.into_iter().map(Into::into).collect(),
            revoked: caller.revoked,
            create_time: iso(caller.create_time),
            etag: caller.etag,
        }
    }
}

impl From<v1::Right> for RightView {
    fn from(right: v1::Right) -> Self {
        let calls = right.calls().filter_map(|class| word(class.as_str_name(), "CALL_CLASS_"));
        let calls = calls.collect();
        let accounts = right.accounts.unwrap_or_default();
        Self {
            all: accounts.all,
            accounts: accounts.accounts,
            domains: accounts.domains,
            labels: ordered(accounts.labels),
            audiences: right.audiences,
            calls,
            scopes: right.scopes,
        }
    }
}

impl From<v1::CallerIdentity> for IdentityView {
    fn from(identity: v1::CallerIdentity) -> Self {
        let empty = Self::default();
        match identity.kind {
            Some(Kind::CertificateDns(name)) => Self { certificate_dns: Some(name), ..empty },
            Some(Kind::CertificateUri(uri)) => Self { certificate_uri: Some(uri), ..empty },
            Some(Kind::Token(rule)) => Self {
                token_issuer: Some(rule.issuer),
                token_subject: Some(rule.subject),
                token_claims: ordered(rule.claims),
                ..empty
            },
            None => empty,
        }
    }
}

impl IdentityView {
    fn words(&self) -> String {
        let certificate = self.certificate_dns.as_ref().or(self.certificate_uri.as_ref());
        if let Some(name) = certificate {
            return format!("certificate {name}");
        }
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        let claims = joined(&self.token_claims);
        let claims = if claims.is_empty() { claims } else { format!(" with {claims}") };
        format!(
            "token of {} for {}{claims}",
            or_none(&self.token_issuer),
            or_none(&self.token_subject)
        )
    }
}

impl From<v1::CallerKey> for KeyView {
    fn from(key: v1::CallerKey) -> Self {
        Self {
            key_id: key.key_id,
            create_time: iso(key.create_time),
            expire_time: iso(key.expire_time),
            revoked: key.revoked,
            last_use_time: iso(key.last_use_time),
        }
    }
}

impl RightView {
    fn words(&self) -> String {
        let mut parts = Vec::new();
        if self.all {
            parts.push("all accounts".to_owned());
        }
        if !self.accounts.is_empty() {
            parts.push(self.accounts.join(", "));
        }
        if !self.domains.is_empty() {
            parts.push(format!("@{}", self.domains.join(", @")));
        }
        if !self.labels.is_empty() {
            parts.push(joined(&self.labels));
        }
        let mut words = format!("{} for {}", parts.join(" and "), self.audiences.join(", "));
        if !self.scopes.is_empty() {
            words += &format!(", only {}", self.scopes.join(" "));
        }
        if self.calls == ["status"] {
            words += ", status only";
        }
        words
    }
}

impl CallerView {
    fn may(&self) -> String {
        let rights: Vec<_> = self.rights.iter().map(RightView::words).collect();
        if rights.is_empty() { self.protocols.join(" ") } else { rights.join("\n") }
    }

    fn state(&self) -> String {
        if self.revoked { "revoked".into() } else { "active".into() }
    }
}

impl View for CallerView {
    fn draw(&self, screen: &Screen) -> String {
        let keys = self.keys.iter().map(|key| {
            let state = if key.revoked { ", revoked" } else { "" };
            let ends = screen.time(&key.expire_time);
            let ends = if ends.is_empty() { ends } else { format!(", ends {ends}") };
            let used = screen.time(&key.last_use_time);
            let used = if used.is_empty() { "never used".into() } else { format!("used {used}") };
            format!("{} ({used}{ends}{state})", key.key_id)
        });
        let identities = self.identities.iter().map(IdentityView::words);
        screen.record(&[
            ("Caller", self.id.clone()),
            ("Name", self.display_name.clone().unwrap_or_default()),
            ("Role", self.role.clone().unwrap_or_default()),
            ("State", self.state()),
            ("May use", self.may()),
            ("At most every", self.min_interval.clone().unwrap_or_default()),
            ("From", self.ip_ranges.join(" ")),
            ("Shows", identities.collect::<Vec<_>>().join("\n")),
            ("Keys", keys.collect::<Vec<_>>().join("\n")),
            ("Made", screen.time(&self.create_time)),
        ])
    }
}

/// All callers.
#[derive(Serialize)]
pub(crate) struct CallersView {
    callers: Vec<CallerView>,
}

impl From<Vec<v1::Caller>> for CallersView {
    fn from(callers: Vec<v1::Caller>) -> Self {
        Self { callers: callers.into_iter().map(Into::into).collect() }
    }
}

impl View for CallersView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.callers.iter().map(|caller| {
            let live = caller.keys.iter().filter(|key| !key.revoked).count();
            let role = caller.role.clone().unwrap_or_default();
            vec![caller.id.clone(), role, caller.state(), live.to_string(), caller.may()]
        });
        let heading = ["CALLER", "ROLE", "STATE", "KEYS", "MAY USE"];
        screen.table(&heading, rows.collect(), "No callers.")
    }
}
