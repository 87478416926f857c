//! The authorization endpoint: a person or a setting decides, and the browser is sent back with a code or an error.
//!
//! Enforces PKCE with S256. An unknown app or a foreign redirect URI is never redirected to (RFC 6749 section 4.1.2.1).
//! Next: [`super::token`], where the code is exchanged.

use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use serde::Deserialize;
use url::{Host, Url};

use super::answer::Answer;
use super::codes::AuthorizeQuery;
use super::faults::{Call, Endpoint};
use super::line::Cutter;
use super::pages;
use super::settings::{Consent, Iss};
use super::sim::{Sim, State as SimState};
use super::stage::perform;

/// The consent form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Decision {
    request: String,
    mailbox: String,
    other: String,
    decision: String,
}

/// `GET /authorize`.
pub async fn show(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    Query(query): Query<AuthorizeQuery>,
) -> Response {
    let call = call_of(&query);
    perform(&sim, &cutter, call, || begin(&sim, query)).await
}

/// `POST /authorize/decide`.
pub async fn decide(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    Form(decision): Form<Decision>,
) -> Response {
    perform(&sim, &cutter, Call::plain(Endpoint::Authorize), || finish(&sim, decision)).await
}

fn call_of(query: &AuthorizeQuery) -> Call {
    Call {
        client: Some(query.client_id.clone()),
        login: query.login_hint.clone(),
        ..Call::plain(Endpoint::Authorize)
    }
}

fn begin(sim: &Sim, query: AuthorizeQuery) -> Answer {
    let mut state = sim.state();
    if let Err(why) = check_return(&state, &query) {
        return pages::refusal(why);
    }
    if let Err((error, why)) = check_request(&query) {
        return back(sim, &state, &query, &[("error", error), ("error_description", why)]);
    }
    match state.settings.consent.clone() {
        Consent::Page => {
            let users = state.settings.users.clone();
            let request = state.codes.hold(query.clone());
            pages::consent(&request, &query, &users)
        }
        Consent::Auto => {
            let hint = query.login_hint.clone().filter(|hint| !hint.is_empty());
            match hint.or_else(|| state.settings.users.first().cloned()) {
                Some(user) => grant(sim, &mut state, query, &user),
                None => pages::refusal("No user is known to this simulator."),
            }
        }
        Consent::As { user } => grant(sim, &mut state, query, &user),
        Consent::Deny { error } => back(sim, &state, &query, &[("error", &error)]),
    }
}

fn finish(sim: &Sim, decision: Decision) -> Answer {
    let mut state = sim.state();
    let user = if decision.other.trim().is_empty() { decision.mailbox } else { decision.other };
    let allowed = decision.decision == "allow";
    if allowed && user.trim().is_empty() {
        return pages::refusal("Choose a mailbox first: go back and try again.");
    }
    let Some(query) = state.codes.take(&decision.request) else {
        return pages::refusal("This page has been used or is too old. Start again.");
    };
    if allowed {
        return grant(sim, &mut state, query, user.trim());
    }
    back(
        sim,
        &state,
        &query,
        &[("error", "access_denied"), ("error_description", "The user refused")],
    )
}

fn grant(sim: &Sim, state: &mut SimState, query: AuthorizeQuery, user: &str) -> Answer {
    let code = state.codes.issue(query.clone(), user, sim.clock.now_ms());
    back(sim, state, &query, &[("code", &code)])
}

/// Sends the browser back with `members`, `state` and `iss`.
fn back(sim: &Sim, state: &SimState, query: &AuthorizeQuery, members: &[(&str, &str)]) -> Answer {
    let Ok(mut url) = Url::parse(&query.redirect_uri) else {
        return pages::refusal("Bad redirect URI.");
    };
    {
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(members);
        if let Some(value) = &query.state {
            pairs.append_pair("state", value);
        }
        match &state.settings.iss {
            Iss::Right => drop(pairs.append_pair("iss", &sim.issuer)),
            Iss::Other { value } => drop(pairs.append_pair("iss", value)),
            Iss::Missing | Iss::Unsupported => {}
        }
    }
    let mut answer = Answer::status(303).with(LOCATION, url.as_str());
    answer.status = StatusCode::SEE_OTHER;
    answer
}

fn check_return(state: &SimState, query: &AuthorizeQuery) -> Result<(), &'static str> {
    let client = state.settings.clients.iter().find(|client| client.id == query.client_id);
    let client = client.ok_or("This app is not registered here.")?;
    let uri = Url::parse(&query.redirect_uri).map_err(|_| "The redirect URI is no URL.")?;
    let known = match client.redirect_uris.as_slice() {
        [] => is_loopback(&uri),
        registered => registered.contains(&query.redirect_uri),
    };
    known.then_some(()).ok_or("The redirect URI is not registered for this app.")
}

fn check_request(query: &AuthorizeQuery) -> Result<(), (&'static str, &'static str)> {
    if query.response_type != "code" {
        return Err(("unsupported_response_type", "only code"));
    }
    let challenge = query.code_challenge.as_deref().unwrap_or_default();
    // Base64url of a SHA-256 digest has 43 characters (RFC 7636 section 4.2).
    if query.code_challenge_method.as_deref() != Some("S256") || challenge.len() != 43 {
        return Err(("invalid_request", "PKCE with S256 is required"));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
