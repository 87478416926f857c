//! From a gRPC status with google.rpc details to an [`Error`]; the one place that reads them.
//!
//! Never decides by text. Invariant: the reason decides; without one (a proxy answered, an older broker) the code
//! does. Next: `errors`.

use std::error::Error as _;
use std::time::Duration;

use tokenbroker_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::errors::Error;

/// What the whole contract's ErrorInfo carries as `domain`.
const DOMAIN: &str = "tokenbroker";

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // What failed on our side of the wire comes back as we put it in.
        if let Some(error) = status.source().and_then(|source| source.downcast_ref::<Error>()) {
            return error.clone();
        }
        let details = status.check_error_details().unwrap_or_default();
        let message = status.message().to_owned();
        match reason(&details) {
            Some(reason) => by_reason(reason, message, &details),
            None => by_code(status.code(), message, &details),
        }
    }
}

fn reason(details: &ErrorDetails) -> Option<ErrorReason> {
    let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
}

fn by_reason(reason: ErrorReason, message: String, details: &ErrorDetails) -> Error {
    let retry_after = retry_after(details);
    match reason {
        ErrorReason::AccountNeedsConsent => needs_consent(message, details, false),
        ErrorReason::AccountNeedsInteraction => needs_consent(message, details, true),
        ErrorReason::AccountBlockedByPolicy => Error::BlockedByPolicy { message },
        ErrorReason::AccountDisabled => Error::AccountDisabled { message },
        ErrorReason::AppRejected => Error::AppRejected { message },
        ErrorReason::AppDisabled => Error::AppDisabled { message },
        ErrorReason::ProviderThrottled
        | ErrorReason::CallerThrottled
        | ErrorReason::LoginLimited => Error::Throttled { message, reason, retry_after },
        ErrorReason::ProviderUnavailable
        | ErrorReason::RefreshInProgress
        | ErrorReason::BrokerUnavailable => {
            Error::Unavailable { message, reason: Some(reason), retry_after }
        }
        ErrorReason::MinTtlUnattainable => {
            let seconds = metadata(details, "max_ttl_seconds").and_then(|text| text.parse().ok());
            Error::MinTtlUnattainable { message, max_ttl: seconds.map(Duration::from_secs) }
        }
        ErrorReason::NotPermitted => Error::NotPermitted { message },
        ErrorReason::NotFound => Error::NotFound { message },
        ErrorReason::Unauthenticated => Error::Unauthenticated { message },
        ErrorReason::InvalidField => invalid(message, details),
        ErrorReason::EtagMismatch | ErrorReason::AlreadyExists | ErrorReason::InUse => {
            Error::Conflict { message, reason }
        }
        ErrorReason::ConsentNotUsable | ErrorReason::SessionNotUsable => {
            Error::NotUsable { message, reason }
        }
        ErrorReason::Internal => internal(message, details),
        ErrorReason::Unspecified => Error::Unexpected { code: "no reason".into(), message },
    }
}

fn by_code(code: Code, message: String, details: &ErrorDetails) -> Error {
    let retry_after = retry_after(details);
    match code {
        Code::Unavailable => Error::Unavailable { message, reason: None, retry_after },
        Code::ResourceExhausted => {
            Error::Throttled { message, reason: ErrorReason::ProviderThrottled, retry_after }
        }
        Code::PermissionDenied => Error::NotPermitted { message },
        Code::NotFound => Error::NotFound { message },
        Code::Unauthenticated => Error::Unauthenticated { message },
        Code::InvalidArgument => invalid(message, details),
        Code::Aborted => Error::Conflict { message, reason: ErrorReason::EtagMismatch },
        Code::AlreadyExists => Error::Conflict { message, reason: ErrorReason::AlreadyExists },
        // tonic's server says "cancelled" when the deadline it was told runs out.
        Code::DeadlineExceeded | Code::Cancelled => Error::Deadline,
        Code::Internal => internal(message, details),
        code => Error::Unexpected { code: format!("{code:?}"), message },
    }
}

fn needs_consent(message: String, details: &ErrorDetails, interaction: bool) -> Error {
    let link = details.help().and_then(|help| help.links.first()).map(|link| link.url.clone());
    Error::NeedsConsent { message, link, interaction }
}

fn invalid(message: String, details: &ErrorDetails) -> Error {
    let first = details.bad_request().and_then(|bad| bad.field_violations.first());
    let (field, remedy) =
        first.map(|v| (v.field.clone(), v.description.clone())).unwrap_or_default();
    Error::Invalid { message, field, remedy }
}

fn internal(message: String, details: &ErrorDetails) -> Error {
    Error::Internal {
        message,
        incident: metadata(details, "incident").cloned().unwrap_or_default(),
    }
}

fn retry_after(details: &ErrorDetails) -> Option<Duration> {
    details.retry_info().and_then(|info| info.retry_delay)
}

fn metadata<'a>(details: &'a ErrorDetails, key: &str) -> Option<&'a String> {
    details.error_info().and_then(|info| info.metadata.get(key))
}

#[cfg(test)]
mod tests;
