//! The back stage over HTTP, under `/_sim/`: the same levers as the Rust interface, for tests in other languages.
//!
//! No authentication: it listens on loopback and holds nothing of worth. Calls here are neither counted nor hit by
//! faults. Next: [`super::Provider`], the Rust interface.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Rule;
use super::record::{Rate, Snapshot, Stats, UserTruth};
use super::settings::ProviderSettings;
use super::sim::{Sim, numbered_user};

/// Most numbered mailboxes in one call.
const ISSUE_MAX: usize = 1_000_000;

/// A refusal: status and reason.
type Refused = (StatusCode, Json<Value>);

/// `GET /_sim/truth`.
pub async fn truth(State(sim): State<Sim>) -> Json<Snapshot> {
    Json(sim.snapshot())
}

/// `GET /_sim/stats`.
pub async fn stats(State(sim): State<Sim>) -> Json<Stats> {
    Json(sim.stats())
}

/// `GET /_sim/rate`: calls of the token endpoint by second and app.
pub async fn rate(State(sim): State<Sim>) -> Json<Rate> {
    Json(sim.state().tally.rate())
}

/// Which mailboxes to tell about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    user: Option<String>,
}

/// `GET /_sim/users`, `GET /_sim/users?user=..`: calls and current refresh token by mailbox.
pub async fn users(
    State(sim): State<Sim>,
    Query(which): Query<Which>,
) -> Json<BTreeMap<String, UserTruth>> {
    Json(match which.user {
        None => sim.users(),
        Some(user) => BTreeMap::from([(user.to_ascii_lowercase(), sim.user(&user))]),
    })
}

/// Whom to issue tokens to: the named and the numbered.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issue {
    users: Vec<String>,
    count: usize,
    first: usize,
    client: Option<String>,
    scope: String,
}

impl Default for Issue {
    fn default() -> Self {
        let (users, scope) = (Vec::new(), "mail".to_owned());
        Self { users, count: 0, first: 0, client: None, scope }
    }
}

/// `POST /_sim/issue`: first pairs of tokens without a consent; answers with the refresh token of each mailbox.
///
/// # Errors
/// 422 if there is no such app, or too many are asked for at once.
pub async fn issue(
    State(sim): State<Sim>,
    Json(ask): Json<Issue>,
) -> Result<Json<BTreeMap<String, String>>, Refused> {
    if ask.count > ISSUE_MAX {
        return Err(unprocessable(format!("at most {ISSUE_MAX} at once")));
    }
    let client = {
        let state = sim.state();
        let mut known = state.settings.clients.iter().map(|client| client.id.clone());
        known.find(|id| ask.client.as_ref().is_none_or(|wanted| wanted == id))
    };
    let client = client.ok_or_else(|| unprocessable("no such client"))?;
    let numbers = ask.first..ask.first.saturating_add(ask.count);
    let users = ask.users.into_iter().chain(numbers.map(numbered_user));
    Ok(Json(sim.issue(users, &client, &ask.scope)))
}

/// `GET /_sim/faults`: the rules still in force.
pub async fn faults(State(sim): State<Sim>) -> Json<Vec<Rule>> {
    Json(sim.state().faults.rules().to_vec())
}

/// `POST /_sim/faults`: adds a rule.
pub async fn add_fault(State(sim): State<Sim>, Json(rule): Json<Rule>) -> StatusCode {
    sim.state().faults.add(rule);
    StatusCode::NO_CONTENT
}

/// `DELETE /_sim/faults`: forgets all rules.
pub async fn clear_faults(State(sim): State<Sim>) -> StatusCode {
    sim.state().faults.clear();
    StatusCode::NO_CONTENT
}

/// `GET /_sim/settings`.
pub async fn settings(State(sim): State<Sim>) -> Json<ProviderSettings> {
    Json(sim.state().settings.clone())
}

/// `PATCH /_sim/settings`: members given replace those in force, whole.
///
/// # Errors
/// 422 with the reason, and nothing changes.
pub async fn change_settings(
    State(sim): State<Sim>,
    Json(patch): Json<serde_json::Map<String, Value>>,
) -> Result<Json<ProviderSettings>, Refused> {
    let mut state = sim.state();
    let mut merged = serde_json::to_value(&state.settings).map_err(unprocessable)?;
    for (name, value) in patch {
        merged[name] = value;
    }
    state.settings = serde_json::from_value(merged).map_err(unprocessable)?;
    Ok(Json(state.settings.clone()))
}

/// What to revoke: one of the members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// Everything of a mailbox.
    User(String),
    /// Everything of an app.
    Client(String),
    /// Everything that descends from one consent.
    Family(usize),
    /// One token alone.
    Token(String),
}

/// `POST /_sim/revoke`: kills tokens behind the client's back and says how many.
pub async fn revoke(State(sim): State<Sim>, Json(target): Json<Target>) -> Json<Value> {
    let now = sim.clock.now_ms();
    let ledger = &mut sim.state().ledger;
    let revoked = match &target {
        Target::User(user) => ledger.revoke_user(user, now),
        Target::Family(family) => ledger.revoke_family(*family, now),
        Target::Client(client) => ledger.revoke_where(now, |record| record.client == *client),
        Target::Token(token) => ledger.revoke_where(now, |record| record.token == *token),
    };
    Json(json!({ "revoked": revoked }))
}

/// How to move the clock: one of the members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Move {
    /// Forward by so many milliseconds.
    AdvanceMs(u64),
    /// Stands at this time.
    FreezeMs(i64),
    /// Runs so many milliseconds ahead of the system's clock, or (negative) behind it.
    OffsetMs(i64),
    /// Runs with the system's clock again.
    Run {},
}

/// `POST /_sim/clock`: moves the clock and tells the time.
pub async fn move_clock(State(sim): State<Sim>, Json(movement): Json<Move>) -> Json<Value> {
    match movement {
        Move::AdvanceMs(ms) => sim.clock.advance(std::time::Duration::from_millis(ms)),
        Move::FreezeMs(at) => sim.clock.freeze(at),
        Move::OffsetMs(ahead) => sim.clock.offset(ahead),
        Move::Run {} => sim.clock.run(),
    }
    clock(State(sim)).await
}

/// `GET /_sim/clock`: tells the time.
pub async fn clock(State(sim): State<Sim>) -> Json<Value> {
    Json(json!({ "now_ms": sim.clock.now_ms() }))
}

fn unprocessable(error: impl std::fmt::Display) -> Refused {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error.to_string() })))
}
