//! The one place where an error becomes a gRPC status with its details.
//!
//! Never a text from a provider, the store or a client. Invariant: each kind of error has one code and one reason, as the
//! contract documents them in `errors.proto`. Next: `grpc` doors return what this makes.

use std::collections::HashMap;
use std::time::Duration;

use tokenbroker_proto::v1::{self, ErrorReason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::Error;
use crate::telemetry::incident;

/// The domain of every ErrorInfo.
const DOMAIN: &str = "tokenbroker";

/// Turns an error into what the caller gets.
pub(super) fn of(error: &Error) -> Status {
    let reason = error.reason();
    let mut metadata = HashMap::new();
    if let Error::MinTtlUnattainable { life } = error {
        metadata.insert("max_ttl_seconds".to_owned(), life.as_secs().to_string());
    }
    if let Error::Ours(cause) = error {
        metadata.insert("incident".to_owned(), incident::note(cause.as_ref()));
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason_name(), DOMAIN, metadata);
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
    }
    if let Some(link) = help_link(error) {
        details.add_help_link("Give consent", link);
    }
    if let Error::Invalid { field, remedy } = error {
        details.add_bad_request_violation(*field, remedy.clone());
    }
    Status::with_error_details(code(reason), error.to_string(), details)
}

/// An outcome with its error as the caller gets it.
pub(super) fn or<T>(outcome: Result<T, Error>) -> Result<T, Status> {
    outcome.map_err(|error| of(&error))
}

/// The same as an entry of a batch.
pub(super) fn refusal(error: &Error) -> v1::Refusal {
    let message = match error {
        Error::Ours(cause) => format!("{error} (incident {})", incident::note(cause.as_ref())),
        _ => error.to_string(),
    };
    v1::Refusal {
        reason: error.reason_number(),
        message,
        retry_delay: retry_delay(error).and_then(|delay| delay.try_into().ok()),
        help_uri: help_link(error).unwrap_or_default().to_owned(),
    }
}

const fn code(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::InvalidField => Code::InvalidArgument,
        ErrorReason::NotPermitted => Code::PermissionDenied,
        ErrorReason::Unauthenticated => Code::Unauthenticated,
        ErrorReason::NotFound => Code::NotFound,
        ErrorReason::AlreadyExists => Code::AlreadyExists,
        ErrorReason::EtagMismatch => Code::Aborted,
        ErrorReason::ProviderThrottled
        | ErrorReason::CallerThrottled
        | ErrorReason::LoginLimited => Code::ResourceExhausted,
        ErrorReason::ProviderUnavailable
        | ErrorReason::RefreshInProgress
        | ErrorReason::BrokerUnavailable => Code::Unavailable,
        ErrorReason::AccountNeedsConsent
        | ErrorReason::AccountNeedsInteraction
        | ErrorReason::AccountBlockedByPolicy
        | ErrorReason::AccountDisabled
        | ErrorReason::AppRejected
        | ErrorReason::AppDisabled
        | ErrorReason::MinTtlUnattainable
        | ErrorReason::InUse
        | ErrorReason::ConsentNotUsable
        | ErrorReason::SessionNotUsable => Code::FailedPrecondition,
        ErrorReason::Internal | ErrorReason::Unspecified => Code::Internal,
    }
}

fn retry_delay(error: &Error) -> Option<Duration> {
    match error {
        Error::ProviderUnavailable { retry_after }
        | Error::ProviderThrottled { retry_after }
        | Error::CallerThrottled { retry_after }
        | Error::Overloaded { retry_after } => Some(*retry_after),
        Error::RefreshInProgress => Some(Duration::from_secs(1)),
        Error::Overtaken => Some(Duration::from_millis(100)),
        Error::Unavailable(_) | Error::IssuerAway => Some(Duration::from_secs(2)),
        _ => None,
    }
}

fn help_link(error: &Error) -> Option<&str> {
    match error {
        Error::NeedsConsent { link } | Error::NeedsInteraction { link } => Some(link),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_carries_its_incident_and_not_its_cause() {
        let status = of(&Error::ours("canary"));
        assert_eq!(status.code(), Code::Internal);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INTERNAL", "tokenbroker"));
        assert!(info.metadata["incident"].len() > 16, "{info:?}");
        assert!(!format!("{status:?}").contains("canary"));
        let again = of(&Error::ours("canary")).get_details_error_info().unwrap();
        assert_ne!(info.metadata, again.metadata);
        let entry = refusal(&Error::ours("canary")).message;
        assert!(entry.contains("incident") && !entry.contains("canary"), "{entry}");
    }

    #[test]
    fn a_life_that_no_token_has_is_refused_with_the_one_they_have() {
        let status = of(&Error::MinTtlUnattainable { life: Duration::from_secs(600) });
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str()),
            (Code::FailedPrecondition, "MIN_TTL_UNATTAINABLE")
        );
        assert_eq!(info.metadata["max_ttl_seconds"], "600");
    }
}
