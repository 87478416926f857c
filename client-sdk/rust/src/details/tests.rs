//! Every reason of the contract becomes the error its comment promises.

use std::collections::HashMap;

use super::*;
use crate::errors::Fault;

fn status(code: Code, reason: &str, details: ErrorDetails) -> Status {
    status_with(code, reason, details, HashMap::new())
}

fn status_with(
    code: Code,
    reason: &str,
    mut details: ErrorDetails,
    metadata: HashMap<String, String>,
) -> Status {
    details.set_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, "words", details)
}

#[test]
fn every_reason_of_the_contract_comes_back_as_itself() {
    let mut known = 0;
    for number in 1..64 {
        let Ok(reason) = ErrorReason::try_from(number) else { break };
        let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
        let error = Error::from(status(Code::Unknown, name, ErrorDetails::new()));
        assert_eq!(error.reason(), Some(reason), "{error:?}");
        assert_eq!(error.to_string(), "words");
        known += 1;
    }
    assert!(known >= 21, "the contract lost reasons");
}

#[test]
fn a_consent_error_carries_the_link_for_the_owner() {
    let mut details = ErrorDetails::new();
    details.add_help_link("Consent", "https://broker.example/c/1");
    let error =
        Error::from(status(Code::FailedPrecondition, "ACCOUNT_NEEDS_CONSENT", details.clone()));
    let Error::NeedsConsent { link, interaction, .. } = &error else { panic!("{error:?}") };
    assert_eq!(link.as_deref(), Some("https://broker.example/c/1"));
    assert!(!interaction && !error.is_retryable());
    assert_eq!(error.fault(), Fault::Owner);

    let error = Error::from(status(Code::FailedPrecondition, "ACCOUNT_NEEDS_INTERACTION", details));
    assert!(matches!(error, Error::NeedsConsent { interaction: true, link: Some(_), .. }));
}

#[test]
fn what_passes_by_itself_says_when() {
    let wait = Duration::from_millis(1500);
    for (code, reason) in [
        (Code::Unavailable, "PROVIDER_UNAVAILABLE"),
        (Code::Unavailable, "BROKER_UNAVAILABLE"),
        (Code::ResourceExhausted, "PROVIDER_THROTTLED"),
    ] {
        let error = Error::from(status(code, reason, ErrorDetails::with_retry_info(Some(wait))));
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(error.retry_after(), Some(wait));
    }
}

#[test]
fn a_wrong_field_comes_with_its_remedy() {
    let details = ErrorDetails::with_bad_request_violation("app.client_id", "at most 512 bytes");
    let error = Error::from(status(Code::InvalidArgument, "INVALID_FIELD", details));
    let Error::Invalid { field, remedy, .. } = error else { panic!("{error:?}") };
    assert_eq!((field.as_str(), remedy.as_str()), ("app.client_id", "at most 512 bytes"));
}

#[test]
fn metadata_says_how_long_tokens_live_and_which_incident_it_was() {
    let told = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
    let error = Error::from(status_with(
        Code::FailedPrecondition,
        "MIN_TTL_UNATTAINABLE",
        ErrorDetails::new(),
        told("max_ttl_seconds", "3599"),
    ));
    let Error::MinTtlUnattainable { max_ttl, .. } = error else { panic!("{error:?}") };
    assert_eq!(max_ttl, Some(Duration::from_secs(3599)));

    let error = Error::from(status_with(
        Code::Internal,
        "INTERNAL",
        ErrorDetails::new(),
        told("incident", "i-7"),
    ));
    assert!(matches!(error, Error::Internal { incident, .. } if incident == "i-7"));
}

#[test]
fn without_a_reason_of_ours_the_code_decides() {
    let mut foreign = ErrorDetails::new();
    foreign.set_error_info("ACCOUNT_NEEDS_CONSENT", "elsewhere.example", HashMap::new());
    let error = Error::from(Status::with_error_details(Code::PermissionDenied, "no", foreign));
    assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
    for (code, retryable) in [
        (Code::Unavailable, true),
        (Code::ResourceExhausted, true),
        (Code::DeadlineExceeded, true),
        (Code::Unauthenticated, false),
        (Code::Unimplemented, false),
        (Code::Aborted, false),
    ] {
        assert_eq!(Error::from(Status::new(code, "x")).is_retryable(), retryable, "{code:?}");
    }
}

#[test]
fn details_that_are_garbage_are_no_panic() {
    let status =
        Status::with_details(Code::Unavailable, "x", bytes_of(&[0xff, 0xff, 0xff, 0x01, 0x02]));
    assert!(matches!(Error::from(status), Error::Unavailable { reason: None, .. }));
}

fn bytes_of(raw: &'static [u8]) -> tonic::codegen::Bytes {
    tonic::codegen::Bytes::from_static(raw)
}
