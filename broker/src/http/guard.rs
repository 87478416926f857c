//! What holds for every request and every answer: limits, headers, figures.
//!
//! Never looks at what a page is about. Invariant: no answer leaves without these headers, whoever made it, and no request is
//! worked on for longer than [`DEADLINE`]. Next: `consent` handles what comes through.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue};

use super::refusal::Refusal;
use super::verbs::Verbs;
use super::{Shared, Site};
use crate::telemetry::metrics;

/// Longest time for one request: an exchange at the provider, the look-up of who consented and one mail login fit in.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// Headers that every answer carries unless its page says it better.
const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
];

/// Turns away what is too much and ends what takes too long.
pub(super) async fn bound<V: Verbs>(
    State(shared): State<Shared<V>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = shared.gate.try_acquire() else {
        return Refusal::busy().into_response();
    };
    let answered = tokio::time::timeout(DEADLINE, next.run(request)).await;
    answered.unwrap_or_else(|_| Refusal::slow().into_response())
}

/// Puts the headers on.
pub(super) async fn dress(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if site.https {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

/// Counts the answer.
pub(super) async fn count(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics::http(class, began.elapsed());
    response
}
