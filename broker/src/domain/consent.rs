//! A consent on its way: from the link to the grant.
//!
//! Never a token, never a plain `state`: what a browser brings back is compared by keyed hash. Invariant: a consent moves
//! forward only, each step once (design section 8). Next: `service/create_consent` makes one, `http` carries the browser.

use std::collections::BTreeMap;

use crate::clock::Time;
use crate::domain::ids::{AccountId, AppId, ConsentId, Mailbox, ProjectId, ResourceId};
use crate::domain::secret::Sealed;

/// A consent on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Its row.
    pub id: ConsentId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its id for people.
    pub name: ResourceId,
    /// The app that asks.
    pub app: AppId,
    /// The account to renew, or the one that came of it.
    pub account: Option<AccountId>,
    /// The id a new account shall have; empty for a made-up one.
    pub account_name: String,
    /// Labels for a new account.
    pub labels: BTreeMap<String, String>,
    /// How owner and broker come together.
    pub mode: ConsentMode,
    /// How far it is.
    pub state: ConsentState,
    /// The mailbox that must come of it.
    pub expected_mailbox: Option<Mailbox>,
    /// Who asks, for the owner's page.
    pub requester: String,
    /// Where the browser goes afterwards (APPLICATION), or the listener (LOOPBACK); may be empty.
    pub return_uri: String,
    /// The redirect URI of this consent, exactly as sent to the provider; empty until it goes there.
    pub redirect_uri: String,
    /// Keyed hash of the link's secret, with which the owner opens the page; empty for LOOPBACK.
    pub ticket_hash: Vec<u8>,
    /// Keyed hash of the `state` parameter; empty until the browser goes to the provider.
    pub state_hash: Vec<u8>,
    /// Keyed hash of the cookie the `state` is bound to; empty for LOOPBACK.
    pub cookie_hash: Vec<u8>,
    /// Keyed hash of the one-time code for FinishConsent; empty until the owner consented.
    pub finish_hash: Vec<u8>,
    /// PKCE verifier and nonce, sealed; absent until the browser goes to the provider.
    pub verifier: Option<Sealed>,
    /// As above.
    pub nonce: Option<Sealed>,
    /// The provider's answer, sealed, while the consent is pending.
    pub answer: Option<Sealed>,
    /// What went wrong, for people.
    pub failure: String,
    /// Who made it, for the audit.
    pub created_by: String,
    /// When it was made.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
}

/// How owner and broker come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentMode {
    /// An application sends its own user and finishes the consent itself.
    Application,
    /// An operator sends a link; the mailbox is fixed beforehand.
    Invitation,
    /// The operator is the owner; a listener on their machine gets the answer.
    Loopback,
}

/// How far a consent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentState {
    /// Waits for the owner.
    Open,
    /// The answer of the provider is being worked on: it cannot be replayed.
    Claimed,
    /// The owner consented; waits for FinishConsent.
    Pending,
    /// The account works.
    Finished,
    /// Refused by owner, provider or us.
    Failed,
    /// Cancelled by an operator.
    Cancelled,
}

impl ConsentMode {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Invitation => "invitation",
            Self::Loopback => "loopback",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Application, Self::Invitation, Self::Loopback]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

impl ConsentState {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Claimed => "claimed",
            Self::Pending => "pending",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Claimed, Self::Pending, Self::Finished, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Consent {
    /// A consent that was just started: open, and with nothing known of it but what is given here.
    pub fn open(
        (id, name): (ConsentId, ResourceId),
        (project, app): (ProjectId, AppId),
        mode: ConsentMode,
        (created_at, expires_at): (Time, Time),
    ) -> Self {
        Self {
            id,
            project,
            name,
            app,
            account: None,
            account_name: String::new(),
            labels: BTreeMap::new(),
            mode,
            state: ConsentState::Open,
            expected_mailbox: None,
            requester: String::new(),
            return_uri: String::new(),
            redirect_uri: String::new(),
            ticket_hash: Vec::new(),
            state_hash: Vec::new(),
            cookie_hash: Vec::new(),
            finish_hash: Vec::new(),
            verifier: None,
            nonce: None,
            answer: None,
            failure: String::new(),
            created_by: String::new(),
            created_at,
            expires_at,
        }
    }

    /// Whether it can still be used at `now`.
    pub fn is_open(&self, now: Time) -> bool {
        self.state == ConsentState::Open && self.expires_at > now
    }

    /// Whether nothing more can come of it at `now`.
    pub fn has_expired(&self, now: Time) -> bool {
        use ConsentState::{Claimed, Open, Pending};
        // One that is claimed for so long was being worked on when the broker was killed.
        matches!(self.state, Open | Claimed | Pending) && self.expires_at <= now
    }
}
