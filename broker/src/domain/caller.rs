//! Who may call, and the permits that verbs demand.
//!
//! Default is deny. Never reads the store. Invariant: a permit is made here and nowhere else, so a verb that takes one
//! cannot be reached without the question having been asked. Next: `service` verbs take permits by value.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::caller_identity::{CallerIdentity, CertificateNames, Vouched};
use crate::domain::credential::within;
use crate::domain::guarded::{Canonical, Rights};
use crate::domain::ids::{AccountId, CallerId, CallerKeyId, ProjectId, ResourceId};
use crate::domain::mail::MailProtocol;
pub use crate::domain::right::{CallClass, Right, ScopeLimit, Selector};

/// A program or person that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its row.
    pub id: CallerId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its id for people, unique in the project.
    pub name: ResourceId,
    /// For people.
    pub display_name: String,
    /// What kind of calls.
    pub role: Role,
    /// For services: which tokens.
    pub rights: Vec<Right>,
    /// For adapters: which protocols.
    pub protocols: Vec<MailProtocol>,
    /// From where; empty means anywhere.
    pub ip_ranges: Vec<IpNet>,
    /// What it may show instead of an API key.
    pub identities: Vec<CallerIdentity>,
    /// For services: the least time between two tokens of one account; zero means none.
    pub min_interval: Duration,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Rises with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Time,
}

/// What kind of calls a caller may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The whole admin plane, and tokens of every account.
    Admin,
    /// Apps, accounts, consents, credentials; not callers, not tokens.
    Operator,
    /// Tokens its rights name.
    Service,
    /// Mail logins.
    Adapter,
}

/// One API key of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerKey {
    /// Its row.
    pub id: CallerKeyId,
    /// The public part of the key.
    pub key: String,
    /// Whose it is.
    pub caller: CallerId,
    /// The keyed hash of its secret part.
    pub secret_hash: Vec<u8>,
    /// When it ends, if ever.
    pub expires_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
    /// The last call with it, to the minute.
    pub last_used_at: Option<Time>,
}

/// No such thing or no right to it: on purpose one error for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such resource, or no right to it")]
pub struct NotPermitted;

/// May have this account's token for this audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseAccount {
    account: AccountId,
    audience: String,
    scopes: ScopeLimit,
}

/// May open mail sessions over these protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSessions {
    caller: CallerId,
    project: ProjectId,
    protocols: Vec<MailProtocol>,
}

/// May manage what belongs to a project: apps, accounts, consents, credentials, audit, status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manage {
    project: ProjectId,
    actor: String,
}

/// May manage callers too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManageCallers(Manage);

impl Caller {
    /// Its name as the audit and others say it.
    pub fn resource_name(&self) -> String {
        format!("projects/{}/callers/{}", self.project, self.name)
    }

    /// Whether it may call at all from `address`.
    pub fn may_call_from(&self, address: IpAddr) -> bool {
        self.revoked_at.is_none() && within(&self.ip_ranges, address)
    }

    /// Whether it may ask for tokens at all, before it is known of which account.
    ///
    /// # Errors
    /// [`NotPermitted`] for operators and adapters.
    pub fn may_ask_for_tokens(&self) -> Result<(), NotPermitted> {
        match self.role {
            Role::Admin | Role::Service => Ok(()),
            Role::Operator | Role::Adapter => Err(NotPermitted),
        }
    }

    /// Asks for the right to an account's token.
    ///
    /// # Errors
    /// [`NotPermitted`] unless the caller is an admin of the account's project or a service with a fitting right.
    pub fn may_use(&self, account: &Account, audience: &str) -> Result<UseAccount, NotPermitted> {
        let scopes = self.limit(account, audience, CallClass::Tokens).ok_or(NotPermitted)?;
        Ok(UseAccount { account: account.id, audience: audience.to_owned(), scopes })
    }

    /// Whether it may be told how an account's token stands: it may have the token, or a right says so.
    pub fn may_see(&self, account: &Account, audience: &str) -> bool {
        self.limit(account, audience, CallClass::Status).is_some()
    }

    /// The limit on scopes that goes with what it may, if it may.
    fn limit(&self, account: &Account, audience: &str, class: CallClass) -> Option<ScopeLimit> {
        if self.project != account.project {
            return None;
        }
        let fitting = |right: &&Right| right.allows(class) && right.covers(account, audience);
        match self.role {
            Role::Admin => Some(ScopeLimit::none()),
            Role::Service => ScopeLimit::of(self.rights.iter().filter(fitting)),
            Role::Operator | Role::Adapter => None,
        }
    }

    /// Whether it may learn what there is about an account: it has a right to some token of it.
    pub fn may_know(&self, account: &Account) -> bool {
        let selects = |right: &Right| {
            let tokens = right.allows(CallClass::Tokens) && !right.audiences.is_empty();
            tokens && right.accounts.selects(account)
        };
        self.project == account.project
            && match self.role {
                Role::Admin => true,
                Role::Service => self.rights.iter().any(selects),
                Role::Operator | Role::Adapter => false,
            }
    }

    /// Whether a verified certificate with these names is one of its own.
    pub fn is_named_by(&self, names: &CertificateNames) -> bool {
        self.identities.iter().any(|identity| identity.is_among(names))
    }

    /// Whether a verified token that says this is one of its own.
    pub fn is_vouched_by(&self, vouched: &Vouched) -> bool {
        self.identities.iter().any(|identity| identity.fits(vouched))
    }

    /// Asks who it is itself.
    ///
    /// # Errors
    /// [`NotPermitted`] for adapters: they have their own plane and nothing else.
    pub fn may_ask_who_it_is(&self) -> Result<(), NotPermitted> {
        (self.role != Role::Adapter).then_some(()).ok_or(NotPermitted)
    }

    /// Asks for the right to open mail sessions.
    ///
    /// # Errors
    /// [`NotPermitted`] unless the caller is an adapter.
    pub fn may_open_sessions(&self) -> Result<OpenSessions, NotPermitted> {
        let permit = OpenSessions {
            caller: self.id,
            project: self.project.clone(),
            protocols: self.protocols.clone(),
        };
        (self.role == Role::Adapter).then_some(permit).ok_or(NotPermitted)
    }

    /// Asks for the right to manage `project`.
    ///
    /// # Errors
    /// [`NotPermitted`] unless the caller is an admin or operator of that project.
    pub fn may_manage(&self, project: &ProjectId) -> Result<Manage, NotPermitted> {
        let allowed = matches!(self.role, Role::Admin | Role::Operator) && self.project == *project;
        let permit = Manage { project: project.clone(), actor: self.resource_name() };
        allowed.then_some(permit).ok_or(NotPermitted)
    }

    /// Asks for the right to manage `project`'s callers.
    ///
    /// # Errors
    /// [`NotPermitted`] unless the caller is an admin of that project.
    pub fn may_manage_callers(&self, project: &ProjectId) -> Result<ManageCallers, NotPermitted> {
        let permit = self.may_manage(project)?;
        (self.role == Role::Admin).then_some(ManageCallers(permit)).ok_or(NotPermitted)
    }
}

impl Account {
    /// The permit that a checked mail login gives: this account's token, to log in upstream and for nothing else.
    pub fn for_mail(&self, audience: String) -> UseAccount {
        UseAccount { account: self.id, audience, scopes: ScopeLimit::none() }
    }
}

impl UseAccount {
    /// Whose token.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Which one.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Which scopes it may have.
    pub const fn scopes(&self) -> &ScopeLimit {
        &self.scopes
    }
}

impl OpenSessions {
    /// Which adapter.
    pub const fn caller(&self) -> CallerId {
        self.caller
    }

    /// In which project its clients' accounts are.
    pub const fn project(&self) -> &ProjectId {
        &self.project
    }

    /// Whether over this protocol.
    pub fn allows(&self, protocol: MailProtocol) -> bool {
        self.protocols.contains(&protocol)
    }
}

impl Manage {
    /// What it is a permit for.
    pub const fn project(&self) -> &ProjectId {
        &self.project
    }

    /// Who acts, for the audit.
    pub fn actor(&self) -> &str {
        &self.actor
    }
}

impl ManageCallers {
    /// The wider permit.
    pub const fn manage(&self) -> &Manage {
        &self.0
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Service, Self::Adapter];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Adapter => "adapter",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl CallerKey {
    /// Whether it works at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

impl Rights for Caller {
    const TABLE: &'static str = "callers";

    fn row(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn columns(&self, row: Canonical) -> Canonical {
        let ranges: Vec<String> = self.ip_ranges.iter().map(IpNet::to_string).collect();
        let row = row
            .text("project", self.project.as_str())
            .text("name", self.name.as_str())
            .text("role", self.role.as_str())
            .list("protocols", self.protocols.iter().map(|protocol| protocol.as_str()))
            .list("ip_ranges", ranges.iter().map(String::as_str))
            .number("revoked_at", self.revoked_at.map(Time::millis));
        let row = self.rights.iter().fold(row, |row, right| right.columns(row));
        // What an older row does not have is left out while it is empty, so that its hash stays good. Each column goes in
        // with its name, so leaving one out is as much a change as any other.
        let row = self.identities.iter().fold(row, |row, identity| identity.columns(row));
        match i64::try_from(self.min_interval.as_millis()) {
            Ok(0) => row,
            millis => row.number("min_interval", millis.ok()),
        }
    }
}

impl Rights for CallerKey {
    const TABLE: &'static str = "caller_keys";

    fn row(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn version(&self) -> i64 {
        0
    }

    fn columns(&self, row: Canonical) -> Canonical {
        row.text("key_id", self.key.as_str())
            .bytes("caller", &self.caller.bytes()[..])
            .bytes("secret_hash", self.secret_hash.as_slice())
            .number("expires_at", self.expires_at.map(Time::millis))
            .number("revoked_at", self.revoked_at.map(Time::millis))
    }
}
