//! What can go wrong, by who has to act.
//!
//! Never carries a secret. Invariant: programs decide by variant or [`Error::reason`], never by text. Next: `details`
//! turns wire answers into these; `retry` and `cache` decide by [`Error::is_retryable`].

use std::time::Duration;

use tokenbroker_proto::v1::ErrorReason;

/// Why a call has no result. Cloning is cheap enough to hand one failure to everybody who waited for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mailbox owner has to act in a browser.
    #[error("{message}")]
    NeedsConsent {
        /// The broker's words.
        message: String,
        /// The page to send the owner to.
        link: Option<String>,
        /// True if the grant itself is fine and the provider only wants its user (second factor, new terms).
        interaction: bool,
    },
    /// A policy of the provider or the mailbox's domain forbids it; its administrator has to act.
    #[error("{message}")]
    BlockedByPolicy {
        /// The broker's words.
        message: String,
    },
    /// The account was disabled or revoked at the broker.
    #[error("{message}")]
    AccountDisabled {
        /// The broker's words.
        message: String,
    },
    /// The provider refuses our OAuth app; the broker's operator has to act. The account is unharmed.
    #[error("{message}")]
    AppRejected {
        /// The broker's words.
        message: String,
    },
    /// The OAuth app is switched off at the broker.
    #[error("{message}")]
    AppDisabled {
        /// The broker's words.
        message: String,
    },
    /// No token of this provider lives as long as `min_ttl` asks.
    #[error("{message}")]
    MinTtlUnattainable {
        /// The broker's words.
        message: String,
        /// How long they live.
        max_ttl: Option<Duration>,
    },
    /// The provider or the broker asks for fewer calls. [`Error::reason`] tells which.
    #[error("{message}")]
    Throttled {
        /// The broker's words.
        message: String,
        /// `PROVIDER_THROTTLED`, or `CALLER_THROTTLED`: this caller asks for one account's tokens too often.
        reason: ErrorReason,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// Provider or broker cannot do it now. [`Error::reason`] tells which.
    #[error("{message}")]
    Unavailable {
        /// The broker's words.
        message: String,
        /// `PROVIDER_UNAVAILABLE`, `REFRESH_IN_PROGRESS`, `BROKER_UNAVAILABLE`, or none if something in between
        /// answered.
        reason: Option<ErrorReason>,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// No such thing, or no right to it: the broker does not say which.
    #[error("{message}")]
    NotPermitted {
        /// The broker's words.
        message: String,
    },
    /// What an administrator named does not exist.
    #[error("{message}")]
    NotFound {
        /// The broker's words.
        message: String,
    },
    /// The API key is missing, wrong, revoked or expired.
    #[error("{message}")]
    Unauthenticated {
        /// The broker's words.
        message: String,
    },
    /// A field of the request is wrong.
    #[error("{message}")]
    Invalid {
        /// The broker's words.
        message: String,
        /// Which field. Empty if the broker did not say.
        field: String,
        /// What to write instead. Empty if the broker did not say.
        remedy: String,
    },
    /// It exists, is in use, or changed since it was read; [`Error::reason`] tells which.
    #[error("{message}")]
    Conflict {
        /// The broker's words.
        message: String,
        /// `ALREADY_EXISTS`, `IN_USE` or `ETAG_MISMATCH`.
        reason: ErrorReason,
    },
    /// A consent or mail session that ended, was used, or never was; [`Error::reason`] tells which.
    #[error("{message}")]
    NotUsable {
        /// The broker's words.
        message: String,
        /// `CONSENT_NOT_USABLE` or `SESSION_NOT_USABLE`.
        reason: ErrorReason,
    },
    /// The time for the call ran out; whether the broker did it is unknown.
    #[error("the broker did not answer in time")]
    Deadline,
    /// No connection to any endpoint: nothing was sent.
    #[error("cannot reach the broker at {endpoint}: {message}")]
    Unreachable {
        /// The endpoint tried last.
        endpoint: String,
        /// What the network said.
        message: String,
    },
    /// The connection broke after the call was sent; whether the broker did it is unknown.
    #[error("lost the connection to the broker at {endpoint}: {message}")]
    Disconnected {
        /// The endpoint.
        endpoint: String,
        /// What the network said.
        message: String,
    },
    /// Something is wrong inside the broker.
    #[error("{message}")]
    Internal {
        /// The broker's words.
        message: String,
        /// Stands in the broker's log too. Empty if the broker did not say.
        incident: String,
    },
    /// The options cannot be used; nothing was called.
    #[error("{what}")]
    Options {
        /// Which of them; `None` if it is not about one alone.
        option: Option<OptionName>,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// An answer this version does not know.
    #[error("unexpected answer from the broker ({code}): {message}")]
    Unexpected {
        /// The gRPC code.
        code: String,
        /// The broker's words.
        message: String,
    },
}

/// Which of the [`Options`](crate::Options) cannot be used, for programs that took it from a file of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionName {
    /// The endpoint at this place, counted from 0 in the order they were given.
    Endpoint(usize),
    /// The API key, or where it is to come from.
    ApiKey,
    /// The file of authorities.
    CaFile,
    /// The client certificate or its key.
    Certificate,
}

/// Who has to act before the same call can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The owner of the mailbox, in a browser.
    Owner,
    /// The administrator of the mailbox's domain.
    MailboxAdministrator,
    /// Whoever operates the broker.
    Operator,
    /// This program or the one who set it up.
    Caller,
    /// Nobody: the provider, the broker or the network comes back by itself.
    Time,
}

impl Error {
    pub(crate) fn options(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Options { option: None, what: what.into(), remedy: remedy.into() }
    }

    /// The same, told of this option.
    pub(crate) fn about(mut self, name: OptionName) -> Self {
        if let Self::Options { option, .. } = &mut self {
            *option = Some(name);
        }
        self
    }

    /// The broker's reason, if the broker gave one.
    pub fn reason(&self) -> Option<ErrorReason> {
        Some(match self {
            Self::NeedsConsent { interaction: false, .. } => ErrorReason::AccountNeedsConsent,
            Self::NeedsConsent { interaction: true, .. } => ErrorReason::AccountNeedsInteraction,
            Self::BlockedByPolicy { .. } => ErrorReason::AccountBlockedByPolicy,
            Self::AccountDisabled { .. } => ErrorReason::AccountDisabled,
            Self::AppRejected { .. } => ErrorReason::AppRejected,
            Self::AppDisabled { .. } => ErrorReason::AppDisabled,
            Self::MinTtlUnattainable { .. } => ErrorReason::MinTtlUnattainable,
            Self::Throttled { reason, .. } => *reason,
            Self::Unavailable { reason, .. } => return *reason,
            Self::NotPermitted { .. } => ErrorReason::NotPermitted,
            Self::NotFound { .. } => ErrorReason::NotFound,
            Self::Unauthenticated { .. } => ErrorReason::Unauthenticated,
            Self::Invalid { .. } => ErrorReason::InvalidField,
            Self::Conflict { reason, .. } | Self::NotUsable { reason, .. } => *reason,
            Self::Internal { .. } => ErrorReason::Internal,
            Self::Deadline
            | Self::Unreachable { .. }
            | Self::Disconnected { .. }
            | Self::Options { .. }
            | Self::Unexpected { .. } => return None,
        })
    }

    /// Whether the same call may work later without anybody acting. Says nothing about whether repeating it is safe:
    /// a call that ended in [`Error::Deadline`] or [`Error::Disconnected`] may have been done.
    pub fn is_retryable(&self) -> bool {
        self.fault() == Fault::Time
    }

    /// When the broker said to come back.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NeedsConsent { .. } => Fault::Owner,
            Self::BlockedByPolicy { .. } => Fault::MailboxAdministrator,
            Self::AppRejected { .. }
            | Self::AppDisabled { .. }
            | Self::AccountDisabled { .. }
            | Self::Internal { .. } => Fault::Operator,
            Self::MinTtlUnattainable { .. }
            | Self::NotPermitted { .. }
            | Self::NotFound { .. }
            | Self::Unauthenticated { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::NotUsable { .. }
            | Self::Options { .. }
            | Self::Unexpected { .. } => Fault::Caller,
            Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::Deadline
            | Self::Unreachable { .. }
            | Self::Disconnected { .. } => Fault::Time,
        }
    }
}
