//! A service's right: which accounts, which targets, which calls, which scopes.
//!
//! Never widens by being incomplete: what names nothing selects nothing. Invariant: every field that narrows or widens a
//! right is in [`Right::columns`], which the keyed hash of its caller covers. Next: `caller.rs` makes permits of rights.

use std::collections::BTreeMap;

use super::account::Account;
use super::guarded::Canonical;

/// A right to the tokens of some accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// Which accounts.
    pub accounts: Selector,
    /// For which audiences; `*` means all.
    pub audiences: Vec<String>,
    /// Which calls; empty means tokens and their status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallClass>,
    /// The only scopes its tokens may have; empty means whatever the target has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

/// A class of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallClass {
    /// `GetAccessToken`, `BatchGetAccessTokens`, and the status too.
    Tokens,
    /// `GetTokenStatus` alone.
    Status,
}

/// Selects accounts: all parts that are set must match, and one that sets nothing matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Every account of the project.
    #[serde(default)]
    pub all: bool,
    /// These ids.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Mailboxes in these domains, lower case.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Accounts with all these labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Which scopes a token may have under one or more rights. Rights are not added up: one of them has to allow all scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeLimit(Option<Vec<Vec<String>>>);

/// Scopes that only say who somebody is; no right has to name them.
const WHO: [&str; 8] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
];

impl Right {
    /// Whether it names this account and audience.
    pub fn covers(&self, account: &Account, audience: &str) -> bool {
        let audience_fits = self.audiences.iter().any(|one| one == "*" || one == audience);
        audience_fits && self.accounts.selects(account)
    }

    /// Whether it is a right to such calls.
    pub fn allows(&self, class: CallClass) -> bool {
        let named = self.calls.contains(&class) || self.calls.contains(&CallClass::Tokens);
        self.calls.is_empty() || named
    }

    /// Adds all of it to the canonical form of its caller. Columns that came later are left out while they are empty, so
    /// that the hashes of older rows stay good.
    pub(super) fn columns(&self, row: Canonical) -> Canonical {
        let Selector { all, accounts, domains, labels } = &self.accounts;
        let pairs = labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        let row = row
            .number("all", i64::from(*all))
            .list("accounts", accounts.iter().map(String::as_str))
            .list("domains", domains.iter().map(String::as_str))
            .list("labels", pairs)
            .list("audiences", self.audiences.iter().map(String::as_str));
        let row = match self.calls.as_slice() {
            [] => row,
            calls => row.list("calls", calls.iter().map(|class| class.as_str())),
        };
        match self.scopes.as_slice() {
            [] => row,
            scopes => row.list("scopes", scopes.iter().map(String::as_str)),
        }
    }
}

impl CallClass {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Status => "status",
        }
    }
}

impl Selector {
    /// Whether it selects this account.
    pub fn selects(&self, account: &Account) -> bool {
        let Self { all, accounts, domains, labels } = self;
        let says_nothing = !all && accounts.is_empty() && domains.is_empty() && labels.is_empty();
        let in_domain = |domain: &String| domain == account.mailbox.domain();
        !says_nothing
            && (accounts.is_empty() || accounts.iter().any(|id| id == account.name.as_str()))
            && (domains.is_empty() || domains.iter().any(in_domain))
            && labels.iter().all(|(key, value)| account.labels.get(key) == Some(value))
    }
}

impl ScopeLimit {
    /// Any scope.
    pub const fn none() -> Self {
        Self(None)
    }

    /// What these rights allow together; nothing without a right.
    pub fn of<'r>(rights: impl Iterator<Item = &'r Right>) -> Option<Self> {
        let lists: Vec<_> = rights.map(|right| right.scopes.clone()).collect();
        if lists.is_empty() {
            return None;
        }
        let unlimited = lists.iter().any(Vec::is_empty);
        Some(Self((!unlimited).then_some(lists)))
    }

    /// Whether there is a limit at all.
    pub const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a token may have these scopes. Under a limit, scopes that nobody names are not allowed.
    pub fn allows(&self, scopes: &[String]) -> bool {
        let Some(lists) = &self.0 else { return true };
        let within = |list: &Vec<String>| {
            scopes.iter().all(|scope| list.contains(scope) || WHO.contains(&scope.as_str()))
        };
        !scopes.is_empty() && lists.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(scopes: &[&str]) -> Right {
        Right { scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(), ..Right::default() }
    }

    fn asks(limit: Option<ScopeLimit>, scopes: &[&str]) -> bool {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        limit.is_some_and(|limit| limit.allows(&scopes))
    }

    #[test]
    fn rights_are_not_added_up_to_a_wider_one() {
        let rights = [scoped(&["read"]), scoped(&["send", "list"])];
        assert!(asks(ScopeLimit::of(rights.iter()), &["read"]));
        assert!(asks(ScopeLimit::of(rights.iter()), &["list", "openid"]));
        assert!(!asks(ScopeLimit::of(rights.iter()), &["read", "send"]));
        assert!(!asks(ScopeLimit::of(rights.iter()), &[]), "unknown scopes are not allowed ones");
        let open = [scoped(&["read"]), scoped(&[])];
        assert!(asks(ScopeLimit::of(open.iter()), &["read", "send"]));
        assert!(!asks(ScopeLimit::of([].iter()), &["openid"]));
    }

    #[test]
    fn a_right_to_the_status_is_none_to_the_token() {
        let status = Right { calls: vec![CallClass::Status], ..Right::default() };
        let tokens = Right { calls: vec![CallClass::Tokens], ..Right::default() };
        assert!(status.allows(CallClass::Status) && !status.allows(CallClass::Tokens));
        assert!(tokens.allows(CallClass::Status) && tokens.allows(CallClass::Tokens));
    }
}
