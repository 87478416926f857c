//! What is worth an audit record, as typed values.
//!
//! Never a request, never free text: only names, ids and reasons from this list. Invariant: nothing that can carry a secret
//! has a place in an [`Event`]. Next: `store/audit` chains and keeps them.

use crate::clock::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
    /// The project it happened in.
    pub project: String,
    /// Who did it: a caller's resource name, `owner` or `broker`.
    pub actor: String,
    /// The account's id for people; may be empty.
    pub account: String,
    /// The other thing it was about, as a resource name or key id; may be empty.
    pub subject: String,
    /// Whether it was granted.
    pub granted: bool,
    /// Why not: the number of an `ErrorReason` of the contract, 0 if granted.
    pub reason: i32,
    /// The client's address where one is known; may be empty.
    pub address: String,
    /// The audience of a token, the protocol of a session (with a count where several are summed up), a standing; may be empty.
    pub detail: String,
}

/// A record as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which chain it is in; empty for the chain of changes.
    pub chain: String,
    /// Counts up without gaps in its chain.
    pub sequence: i64,
    /// What happened.
    pub event: Event,
    /// SHA-256 over the previous hash of the chain and this record.
    pub hash: Vec<u8>,
}

macro_rules! what {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kinds of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum What {
            $($(#[$doc])* $name,)*
        }

        impl What {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// From the store.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

what! {
    /// An access token was asked for.
    Token = "token",
    /// A token was refreshed at the provider.
    Refresh = "refresh",
    /// A broker died in the middle of a refresh: its token may have been spent.
    RefreshInterrupted = "refresh.interrupted",
    /// A mail login was asked for.
    Session = "session",
    /// Mail logins that were refused, summed up: how many is in the detail.
    SessionRefusals = "session.refusals",
    /// A mail session asked for another token.
    SessionRenewal = "session.renewal",
    /// An operator ended a mail session.
    SessionEnded = "session.ended",
    /// An app was made.
    AppCreated = "app.created",
    /// An app was changed.
    AppUpdated = "app.updated",
    /// An app was removed.
    AppDeleted = "app.deleted",
    /// The provider began or ceased to refuse an app.
    AppHealth = "app.health",
    /// A consent was started.
    ConsentCreated = "consent.created",
    /// The owner came back from the provider.
    ConsentAnswered = "consent.answered",
    /// A consent was finished or failed.
    ConsentFinished = "consent.finished",
    /// A consent was cancelled.
    ConsentCancelled = "consent.cancelled",
    /// An account was changed by people.
    AccountUpdated = "account.updated",
    /// An account's standing changed.
    AccountStanding = "account.standing",
    /// An account was given back.
    AccountRevoked = "account.revoked",
    /// An account was removed.
    AccountDeleted = "account.deleted",
    /// The provider of a revoked account was told: `confirmed`; or could not be: `no_endpoint`, `given_up`.
    GrantRevoked = "grant.revoked",
    /// A credential was made.
    CredentialCreated = "credential.created",
    /// A credential was rotated.
    CredentialRotated = "credential.rotated",
    /// A credential was revoked.
    CredentialRevoked = "credential.revoked",
    /// A credential was removed.
    CredentialDeleted = "credential.deleted",
    /// A caller asked for what it may not, at the door: another plane's call, or from another network.
    CallRefused = "call.refused",
    /// Calls that were refused so, summed up: how many is in the detail.
    CallRefusals = "call.refusals",
    /// A caller was made.
    CallerCreated = "caller.created",
    /// A caller was changed.
    CallerUpdated = "caller.updated",
    /// A key was added to a caller.
    CallerKeyCreated = "caller_key.created",
    /// A key was revoked.
    CallerKeyRevoked = "caller_key.revoked",
    /// A caller was revoked.
    CallerRevoked = "caller.revoked",
    /// A caller was removed.
    CallerDeleted = "caller.deleted",
    /// The keyring was sealed with another key-encryption key.
    KekRotated = "key.kek_rotated",
    /// A key term was added; nothing is sealed under it yet.
    KeyTermCreated = "key.term_created",
    /// A key term became the active one.
    KeyTermActivated = "key.term_activated",
    /// A key term was removed.
    KeyTermRemoved = "key.term_removed",
    /// A re-seal was started.
    ResealStarted = "key.reseal_started",
    /// A re-seal has gone through everything.
    ResealEnded = "key.reseal_ended",
    /// A broker process was taken out of service.
    BrokerDrained = "broker.drained",
    /// A broker process was taken back into service.
    BrokerResumed = "broker.resumed",
    /// The failures of a token endpoint, or the pause of an app, were forgotten.
    BreakerReset = "breaker.reset",
    /// Old records were removed: the chain is the subject, where it begins now is in the detail.
    AuditPruned = "audit.pruned",
}
