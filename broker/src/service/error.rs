//! What a verb can fail with, named by who has to act.
//!
//! Never says how it looks on the wire: `grpc/status.rs` and `http/refusal.rs` do that, each in one place. Invariant: no text in
//! here comes from a provider, a database or a client unredacted.

use std::sync::Arc;
use std::time::Duration;

use tokenbroker_proto::v1::ErrorReason;

use crate::domain::caller::NotPermitted;
use crate::seal::SealError;
use crate::store;

/// What a verb can fail with.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The caller sent something wrong.
    #[error("{field}: {remedy}")]
    Invalid {
        /// The field, as the contract names it.
        field: &'static str,
        /// What belongs there.
        remedy: String,
    },
    /// The caller has no right, or there is no such thing.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The caller did not say who it is.
    #[error(
        "send a valid API key or token as `authorization: Bearer ..`, or a client certificate, of one caller"
    )]
    Unauthenticated,
    /// The keys of a token's issuer cannot be had, so that nobody knows who calls.
    #[error("the broker cannot check tokens of this issuer at the moment")]
    IssuerAway,
    /// The caller asks for one account's tokens more often than it may.
    #[error("this caller asks for tokens of this account more often than it may")]
    CallerThrottled {
        /// When to try again.
        retry_after: Duration,
    },
    /// A thing that a manager named does not exist.
    #[error("there is no {0}")]
    NotFound(String),
    /// A thing of this name exists.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// Others still need it.
    #[error("{0}")]
    InUse(String),
    /// Someone else changed it meanwhile.
    #[error("it was changed since you read it: read it again")]
    EtagMismatch,
    /// The mailbox owner has to consent.
    #[error("the mailbox owner has to consent again: {link}")]
    NeedsConsent {
        /// The page where that can be done.
        link: String,
    },
    /// The mailbox owner has to do something at the provider.
    #[error("the provider wants the mailbox owner in a browser: {link}")]
    NeedsInteraction {
        /// The page where that can be done.
        link: String,
    },
    /// An administrator of the mailbox's domain has to act.
    #[error("a policy at the provider forbids it; its administrator has to allow this app")]
    BlockedByPolicy,
    /// The account is switched off, given back or not finished.
    #[error("the account is {0}")]
    AccountDisabled(&'static str),
    /// An operator has to mend the app at the provider.
    #[error("the provider refuses the app {app}; check its client id and secret with `app verify`")]
    AppRejected {
        /// The app's id for people.
        app: String,
    },
    /// An operator switched the app off.
    #[error("the app {app} is switched off")]
    AppDisabled {
        /// The app's id for people.
        app: String,
    },
    /// The provider is away and no living token is left.
    #[error("the provider is temporarily unavailable")]
    ProviderUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The provider wants fewer calls.
    #[error("the provider temporarily asks for fewer calls")]
    ProviderThrottled {
        /// When to try again.
        retry_after: Duration,
    },
    /// A refresh takes longer than the caller waits.
    #[error("a refresh is still running")]
    RefreshInProgress,
    /// Tokens of this kind never live that long.
    #[error("min_ttl: tokens of this provider live {} s; ask for less", .life.as_secs())]
    MinTtlUnattainable {
        /// How long they live.
        life: Duration,
    },
    /// The consent cannot be used any more.
    #[error("{0}")]
    ConsentNotUsable(String),
    /// The mail session is not known or has ended.
    #[error("the mail session is not known here, or has ended")]
    SessionNotUsable,
    /// A credential has as many sessions, or logins a minute, as it may.
    #[error("too many sessions or logins with this credential")]
    LoginLimited,
    /// Rights changed under a decision, again and again.
    #[error("rights are changing: try again")]
    Overtaken,
    /// Too many calls are in hand.
    #[error("the broker has too many calls in hand")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The broker is overloaded, stopping, or its store is away.
    #[error("the broker is temporarily unavailable")]
    Unavailable(#[source] store::Error),
    /// The broker is at fault: a row fails its check, a key is missing.
    #[error("something is wrong inside the broker")]
    Ours(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A field of the request is wrong.
    pub fn invalid(field: &'static str, remedy: impl Into<String>) -> Self {
        Self::Invalid { field, remedy: remedy.into() }
    }

    /// Whether it passes by itself, so that a token which still lives is the better answer.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::AppRejected { .. }
                | Self::ProviderUnavailable { .. }
                | Self::ProviderThrottled { .. }
                | Self::RefreshInProgress
                | Self::Unavailable(_)
        )
    }

    /// The reason, as the contract documents it.
    pub const fn reason(&self) -> ErrorReason {
        match self {
            Self::Invalid { .. } => ErrorReason::InvalidField,
            Self::NotPermitted(_) => ErrorReason::NotPermitted,
            Self::Unauthenticated => ErrorReason::Unauthenticated,
            Self::CallerThrottled { .. } => ErrorReason::CallerThrottled,
            Self::NotFound(_) => ErrorReason::NotFound,
            Self::AlreadyExists(_) => ErrorReason::AlreadyExists,
            Self::InUse(_) => ErrorReason::InUse,
            Self::EtagMismatch => ErrorReason::EtagMismatch,
            Self::NeedsConsent { .. } => ErrorReason::AccountNeedsConsent,
            Self::NeedsInteraction { .. } => ErrorReason::AccountNeedsInteraction,
            Self::BlockedByPolicy => ErrorReason::AccountBlockedByPolicy,
            Self::AccountDisabled(_) => ErrorReason::AccountDisabled,
            Self::AppRejected { .. } => ErrorReason::AppRejected,
            Self::AppDisabled { .. } => ErrorReason::AppDisabled,
            Self::ProviderUnavailable { .. } => ErrorReason::ProviderUnavailable,
            Self::ProviderThrottled { .. } => ErrorReason::ProviderThrottled,
            Self::RefreshInProgress => ErrorReason::RefreshInProgress,
            Self::MinTtlUnattainable { .. } => ErrorReason::MinTtlUnattainable,
            Self::ConsentNotUsable(_) => ErrorReason::ConsentNotUsable,
            Self::SessionNotUsable => ErrorReason::SessionNotUsable,
            Self::LoginLimited => ErrorReason::LoginLimited,
            Self::Overtaken | Self::Overloaded { .. } | Self::Unavailable(_) | Self::IssuerAway => {
                ErrorReason::BrokerUnavailable
            }
            Self::Ours(_) => ErrorReason::Internal,
        }
    }

    /// The reason's name without its prefix, as ErrorInfo and the figures have it.
    pub fn reason_name(&self) -> &'static str {
        self.reason().as_str_name().trim_start_matches("ERROR_REASON_")
    }

    /// The reason's number, for the audit.
    pub const fn reason_number(&self) -> i32 {
        self.reason() as i32
    }

    /// An operator has taken this process out of service.
    pub const fn draining() -> Self {
        Self::Unavailable(store::Error::Busy)
    }

    /// The broker is at fault, because of `cause`.
    pub fn ours(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Ours(Arc::from(cause.into()))
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        match error {
            // Another broker has added the term; this one reads the keyring every second.
            SealError::NewerTerm(_) => Self::Unavailable(store::Error::Busy),
            error => Self::ours(error),
        }
    }
}

impl From<crate::memory::Error> for Error {
    fn from(error: crate::memory::Error) -> Self {
        match error {
            crate::memory::Error::Store(error) => error.into(),
            crate::memory::Error::Seal(error) => error.into(),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict { what } => Self::AlreadyExists(format!("one of {what}")),
            store::Error::Stale { .. } => Self::EtagMismatch,
            store::Error::Dangling { what } => {
                Self::InUse(format!("{what} still refers to it, or what it refers to is gone"))
            }
            store::Error::Busy | store::Error::Unreachable { .. } | store::Error::Full { .. } => {
                Self::Unavailable(error)
            }
            other => Self::ours(other),
        }
    }
}
