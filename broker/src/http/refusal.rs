//! The one place where an error becomes a page: its status, and words for a mailbox owner.
//!
//! Never repeats what a browser or a provider sent, never says how the broker works inside. Invariant: each kind of error has
//! a status and words that say what the owner can do. Next: the handlers of `consent` return a [`Refusal`].

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::page;
use crate::service::Error;
use crate::telemetry::incident;

/// Why a browser does not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn new(status: StatusCode, words: &str) -> Self {
        Self { status, words: words.to_owned(), retry_after: None }
    }

    /// There is no such page.
    pub(super) fn no_page() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "There is no such page. Check that you opened the whole link.",
        )
    }

    /// The link cannot be one of ours.
    pub(super) fn no_link() -> Self {
        let words = "This link is not one of ours. Check that you opened the whole link, or ask for a new one.";
        Self::new(StatusCode::NOT_FOUND, words)
    }

    /// The page does not take this method.
    pub(super) fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "This page cannot be used that way. Open your link again.",
        )
    }

    /// The provider's answer is not one: too long, doubled or incomplete.
    pub(super) fn no_answer() -> Self {
        let words =
            "The provider's answer is incomplete. Nothing was stored. Open your link again.";
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// The form did not come from the page shown in this browser, or that page is no longer the newest.
    pub(super) fn foreign_form() -> Self {
        let words = "This did not come from the page we showed you last. Nothing was done. Open your link again; \
                     if it happens again, allow cookies for this page.";
        Self::new(StatusCode::FORBIDDEN, words)
    }

    /// More was sent than any form of ours holds.
    pub(super) fn too_much() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "That is more than this page takes. Open your link again.",
        )
    }

    /// Too many at once.
    pub(super) fn busy() -> Self {
        let words = "Too many people are here at once. Nothing was done; try again in a moment.";
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }

    /// It takes too long. The work may still come to its end.
    pub(super) fn slow() -> Self {
        let words = "This takes longer than expected. Wait a minute and open your link again: it then says whether \
                     the mailbox is connected.";
        Self {
            retry_after: Some(Duration::from_secs(60)),
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, words)
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        if let Error::ConsentNotUsable(words) = &error {
            return Self::new(status, words);
        }
        if let Error::Ours(cause) = &error {
            incident::note(cause.as_ref());
        }
        Self { retry_after: retry_after(&error), ..Self::new(status, words_of(&error)) }
    }
}

const fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::ConsentNotUsable(_)
        | Error::Invalid { .. }
        | Error::NeedsConsent { .. }
        | Error::NeedsInteraction { .. }
        | Error::MinTtlUnattainable { .. }
        | Error::SessionNotUsable => StatusCode::BAD_REQUEST,
        Error::NotPermitted(_) | Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Unauthenticated
        | Error::BlockedByPolicy
        | Error::AccountDisabled(_)
        | Error::AppDisabled { .. } => StatusCode::FORBIDDEN,
        Error::AlreadyExists(_) | Error::InUse(_) | Error::EtagMismatch => StatusCode::CONFLICT,
        Error::AppRejected { .. } => StatusCode::BAD_GATEWAY,
        Error::ProviderUnavailable { .. }
        | Error::ProviderThrottled { .. }
        | Error::LoginLimited
        | Error::RefreshInProgress
        | Error::Overtaken
        | Error::Overloaded { .. }
        | Error::CallerThrottled { .. }
        | Error::IssuerAway
        | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Ours(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn words_of(error: &Error) -> &'static str {
    match error {
        Error::NotPermitted(_) | Error::NotFound(_) => {
            "This link is not one of ours. Check that you opened the whole link, or ask for a new one."
        }
        Error::AppDisabled { .. } => {
            "This app is switched off at the moment. Nothing was done; ask the people who sent you the link."
        }
        Error::AccountDisabled(_) => {
            "This mailbox is switched off here. Nothing was done; ask the people who sent you the link."
        }
        Error::BlockedByPolicy => {
            "A policy of your organisation forbids it. Its administrator has to allow this app."
        }
        Error::AppRejected { .. } => {
            "The provider does not accept our registration. The people who sent you the link have to correct it."
        }
        Error::ProviderUnavailable { .. } | Error::ProviderThrottled { .. } => {
            "The provider is temporarily unavailable. Nothing was stored; try again in a few minutes."
        }
        Error::RefreshInProgress
        | Error::Overtaken
        | Error::Overloaded { .. }
        | Error::Unavailable(_) => {
            "We are temporarily unavailable. Nothing was stored; try again in a moment."
        }
        Error::AlreadyExists(_) | Error::InUse(_) | Error::EtagMismatch => {
            "Somebody changed this at the same time. Nothing was stored; open your link again."
        }
        Error::Ours(_) => {
            "Something is wrong on our side, and we have noted it. Try again later, or ask the people who sent you the link."
        }
        _ => "This link cannot be used any more. Ask for a new one.",
    }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::ProviderUnavailable { retry_after } | Error::ProviderThrottled { retry_after } => {
            Some(*retry_after)
        }
        Error::RefreshInProgress | Error::Unavailable(_) => Some(Duration::from_secs(5)),
        _ => None,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = page::refusal(self.status, &self.words).into_response();
        if let Some(delay) = self.retry_after {
            let seconds = HeaderValue::from(delay.as_secs().max(1));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::NotPermitted;
    use crate::store;

    const CANARY: &str = "canary";

    fn every_error() -> Vec<(Error, u16)> {
        let said = || CANARY.to_owned();
        let retry_after = Duration::from_secs(30);
        vec![
            (Error::invalid("canary", CANARY), 400),
            (Error::NotPermitted(NotPermitted), 404),
            (Error::Unauthenticated, 403),
            (Error::NotFound(said()), 404),
            (Error::AlreadyExists(said()), 409),
            (Error::InUse(said()), 409),
            (Error::EtagMismatch, 409),
            (Error::NeedsConsent { link: said() }, 400),
            (Error::NeedsInteraction { link: said() }, 400),
            (Error::BlockedByPolicy, 403),
            (Error::AccountDisabled(CANARY), 403),
            (Error::AppRejected { app: said() }, 502),
            (Error::AppDisabled { app: said() }, 403),
            (Error::ProviderUnavailable { retry_after }, 503),
            (Error::ProviderThrottled { retry_after }, 503),
            (Error::RefreshInProgress, 503),
            (Error::MinTtlUnattainable { life: retry_after }, 400),
            (Error::SessionNotUsable, 400),
            (Error::Unavailable(store::Error::Busy), 503),
            (Error::ours(CANARY), 500),
        ]
    }

    #[test]
    fn every_error_has_a_status_and_words_that_reveal_nothing() {
        for (error, status) in every_error() {
            let refusal = Refusal::from(error.clone());
            assert_eq!(refusal.status.as_u16(), status, "{error:?}");
            assert!(refusal.words.ends_with('.') && refusal.words.len() > 30, "{error:?}");
            assert!(!refusal.words.contains(CANARY), "{error:?} reveals itself");
            assert_eq!(status == 503, refusal.retry_after.is_some(), "{error:?}");
        }
    }

    #[test]
    fn words_for_the_owner_are_told_as_they_are() {
        let refusal = Refusal::from(Error::ConsentNotUsable("This link has expired.".to_owned()));
        assert_eq!(
            (refusal.status.as_u16(), refusal.words.as_str()),
            (400, "This link has expired.")
        );
    }
}
