//! A mailbox someone consented to, and how it stands.
//!
//! Never holds a token. Invariant: an account changes its state only by a finished consent, a believed refusal and the operator, and an
//! outage or a broken app settles nothing. Next: `service/refresh` reports outcomes, `grpc/accounts` shows the state.

use std::collections::BTreeMap;

use crate::clock::Time;
use crate::domain::guarded::{Canonical, Rights};
use crate::domain::ids::{AccountId, AppId, Mailbox, ProjectId, ResourceId};

/// A mail account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its row.
    pub id: AccountId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its id for people, unique in the project.
    pub name: ResourceId,
    /// The mailbox, unique in the project.
    pub mailbox: Mailbox,
    /// The user name towards the provider where it is not the mailbox; may be empty.
    pub sasl_user: String,
    /// For people.
    pub display_name: String,
    /// The app it consented to.
    pub app: AppId,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The user at the provider: `sub`, or Microsoft's `tid.oid`. Empty until the first consent.
    pub subject: String,
    /// The pinned authority after sign-in (Microsoft); may be empty.
    pub authority: String,
    /// Whether an operator switched it off.
    pub disabled: bool,
    /// How the provider sees it.
    pub standing: Standing,
    /// What the provider said when the standing changed last; redacted, for people.
    pub provider_code: String,
    /// As above.
    pub provider_message: String,
    /// Rises with every change by people and with every change of rights.
    pub version: i64,
    /// When it was made.
    pub created_at: Time,
    /// When it was changed last.
    pub updated_at: Time,
}

/// How the provider sees an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its first consent is not finished.
    Pending,
    /// Works.
    Active,
    /// The owner has to consent again.
    NeedsConsent,
    /// The owner has to do something in a browser.
    NeedsInteraction,
    /// A policy forbids it.
    BlockedByPolicy,
    /// Given back.
    Revoked,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Active,
        Self::NeedsConsent,
        Self::NeedsInteraction,
        Self::BlockedByPolicy,
        Self::Revoked,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::NeedsConsent => "needs_consent",
            Self::NeedsInteraction => "needs_interaction",
            Self::BlockedByPolicy => "blocked_by_policy",
            Self::Revoked => "revoked",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text)
    }
}

impl Account {
    /// The user name towards the provider.
    pub fn sasl_user(&self) -> &str {
        if self.sasl_user.is_empty() { self.mailbox.as_str() } else { &self.sasl_user }
    }

    /// Whether its tokens may be handed out at all.
    pub fn is_usable(&self) -> bool {
        !self.disabled && self.standing == Standing::Active
    }
}

impl Rights for Account {
    const TABLE: &'static str = "accounts";

    fn row(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn columns(&self, row: Canonical) -> Canonical {
        let labels = self.labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        row.text("project", self.project.as_str())
            .text("name", self.name.as_str())
            .text("mailbox", self.mailbox.as_str())
            .text("sasl_user", self.sasl_user.as_str())
            .bytes("app", &self.app.bytes()[..])
            .list("labels", labels)
            .text("subject", self.subject.as_str())
            .text("authority", self.authority.as_str())
            .number("disabled", i64::from(self.disabled))
            .text("standing", self.standing.as_str())
    }
}
