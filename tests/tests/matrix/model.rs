//! The rules on paper: who may do what, as the documentation says it, in the plainest words.
//!
//! Never names a type of the broker's domain. Next: `domain` and `doors` compare.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// A caller on paper.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) project: &'static str,
    pub(crate) role: &'static str,
    pub(crate) rights: Vec<Paper>,
    pub(crate) protocols: Vec<&'static str>,
    /// First octets of /8 networks; none means anywhere.
    pub(crate) networks: Vec<u8>,
    pub(crate) revoked: bool,
}

/// A right on paper.
#[derive(Clone, Debug)]
pub(crate) struct Paper {
    pub(crate) all: bool,
    pub(crate) ids: Vec<&'static str>,
    pub(crate) domains: Vec<&'static str>,
    pub(crate) labels: BTreeMap<&'static str, &'static str>,
    pub(crate) audiences: Vec<&'static str>,
    pub(crate) scopes: Vec<&'static str>,
    /// `tokens`, `status`; none means tokens.
    pub(crate) calls: Vec<&'static str>,
}

/// An account on paper.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) project: &'static str,
    pub(crate) id: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) labels: BTreeMap<&'static str, &'static str>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Token { audience: &'static str, scopes: Vec<&'static str> },
    Status { audience: &'static str },
    Login { protocol: &'static str },
    Manage,
    ManageCallers,
    WhoAmI,
}

/// Whether `person`, calling from 10 or another first octet, may make `call` about `mail`.
pub(crate) fn may(person: &Person, mail: &Mail, call: &Call, from: u8) -> bool {
    if person.revoked {
        return false;
    }
    if !person.networks.is_empty() && !person.networks.contains(&from) {
        return false;
    }
    let at_home = person.project == mail.project;
    match (person.role, call) {
        (
            "admin",
            Call::Token { .. } | Call::Status { .. } | Call::Manage | Call::ManageCallers,
        )
        | ("operator", Call::Manage) => at_home,
        ("admin" | "operator" | "service", Call::WhoAmI) => true,
        ("adapter", Call::Login { protocol }) => at_home && person.protocols.contains(protocol),
        ("service", Call::Token { audience, scopes }) => {
            let good = |right: &Paper| {
                let tokens = right.calls.is_empty() || right.calls.contains(&"tokens");
                tokens && right.reaches(mail, audience) && right.stomachs(scopes)
            };
            at_home && person.rights.iter().any(good)
        }
        ("service", Call::Status { audience }) => {
            at_home && person.rights.iter().any(|right| right.reaches(mail, audience))
        }
        _ => false,
    }
}

impl Paper {
    fn reaches(&self, mail: &Mail, audience: &str) -> bool {
        let mut said = self.all;
        if !self.ids.is_empty() {
            said = true;
            if !self.ids.contains(&mail.id) {
                return false;
            }
        }
        if !self.domains.is_empty() {
            said = true;
            if !self.domains.contains(&mail.domain) {
                return false;
            }
        }
        for (key, value) in &self.labels {
            said = true;
            if mail.labels.get(key) != Some(value) {
                return false;
            }
        }
        said && (self.audiences.contains(&"*") || self.audiences.contains(&audience))
    }

    fn stomachs(&self, scopes: &[&str]) -> bool {
        if self.scopes.is_empty() {
            return true;
        }
        let beyond =
            scopes.iter().filter(|scope| **scope != "openid" && !self.scopes.contains(scope));
        !scopes.is_empty() && beyond.count() == 0
    }
}

const IDS: [&str; 3] = ["ann", "bob", "an"];
const DOMAINS: [&str; 3] = ["example.test", "ample.test", "sub.example.test"];
const KEYS: [&str; 2] = ["team", "site"];
const VALUES: [&str; 2] = ["sales", "ops"];
const AUDIENCES: [&str; 3] = ["mail", "contacts", "*"];
const SCOPES: [&str; 3] = ["read", "send", "openid"];
const PROTOCOLS: [&str; 3] = ["imap", "smtp", "pop3"];
const ROLES: [&str; 4] = ["admin", "operator", "service", "adapter"];
const PROJECTS: [&str; 2] = ["default", "other"];

fn one(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    proptest::sample::select(of)
}

fn labels() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    btree_map(one(&KEYS), one(&VALUES), 0..3)
}

fn right() -> impl Strategy<Value = Paper> {
    let selector =
        (proptest::bool::weighted(0.3), vec(one(&IDS), 0..2), vec(one(&DOMAINS), 0..2), labels());
    let what = (
        vec(one(&AUDIENCES), 0..3),
        vec(one(&SCOPES), 0..3),
        vec(one(&["tokens", "status"]), 0..2),
    );
    (selector, what).prop_map(|((all, ids, domains, labels), (audiences, scopes, calls))| Paper {
        all,
        ids,
        domains,
        labels,
        audiences,
        scopes,
        calls,
    })
}

/// Any caller.
pub(crate) fn person() -> impl Strategy<Value = Person> {
    let role = prop_oneof![3 => Just("service"), 2 => one(&ROLES)];
    let parts = (
        prop_oneof![5 => Just("default"), 1 => one(&PROJECTS)],
        role,
        vec(right(), 0..4),
        vec(one(&PROTOCOLS), 0..3),
        option::weighted(0.2, 10_u8..12),
        proptest::bool::weighted(0.05),
    );
    parts.prop_map(|(project, role, rights, protocols, network, revoked)| Person {
        project,
        role,
        rights,
        protocols,
        networks: network.into_iter().collect(),
        revoked,
    })
}

/// Any account.
pub(crate) fn mail() -> impl Strategy<Value = Mail> {
    let project = prop_oneof![5 => Just("default"), 1 => one(&PROJECTS)];
    (project, one(&IDS), one(&DOMAINS), labels()).prop_map(|(project, id, domain, labels)| Mail {
        project,
        id,
        domain,
        labels,
    })
}

/// Any call.
pub(crate) fn call() -> impl Strategy<Value = Call> {
    let token = (one(&AUDIENCES), vec(one(&SCOPES), 0..3))
        .prop_map(|(audience, scopes)| Call::Token { audience, scopes });
    prop_oneof![
        5 => token,
        2 => one(&AUDIENCES).prop_map(|audience| Call::Status { audience }),
        2 => one(&PROTOCOLS).prop_map(|protocol| Call::Login { protocol }),
        1 => Just(Call::Manage),
        1 => Just(Call::ManageCallers),
        1 => Just(Call::WhoAmI),
    ]
}
