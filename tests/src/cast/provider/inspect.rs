//! Questions about a token: revocation, introspection, userinfo.
//!
//! RFC 7009, RFC 7662 and OpenID Connect Core section 5.3. Revocation answers 200 for unknown tokens too. Next:
//! [`super::admin`].

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client_auth::{self, Claim, Form};
use super::faults::{Call, Endpoint};
use super::identity::subject;
use super::line::Cutter;
use super::record::{Kind, TokenRecord};
use super::sim::Sim;
use super::stage::perform;

/// `POST /revoke`.
pub async fn revoke(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked::read(&sim, Endpoint::Revoke, &headers, &body);
    perform(&sim, &cutter, asked.call.clone(), || asked.revoke(&sim)).await
}

/// `POST /introspect`.
pub async fn introspect(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked::read(&sim, Endpoint::Introspect, &headers, &body);
    perform(&sim, &cutter, asked.call.clone(), || asked.introspect(&sim)).await
}

/// `GET /userinfo`.
pub async fn userinfo(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    perform(&sim, &cutter, Call::plain(Endpoint::Userinfo), || {
        let now = sim.clock.now_ms();
        match sim.state().ledger.check_access(token, None, now) {
            Ok(record) => Answer::json(
                StatusCode::OK,
                &json!({"sub": subject(&record.user), "email": record.user, "email_verified": true}),
            ),
            Err(_) => Answer::error("invalid_token", "the access token is dead or unknown")
                .with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
        }
    })
    .await
}

struct Asked {
    form: Form,
    claim: Option<Claim>,
    call: Call,
}

impl Asked {
    fn read(sim: &Sim, endpoint: Endpoint, headers: &HeaderMap, body: &[u8]) -> Self {
        let form = client_auth::form(body);
        let claim = client_auth::claim(headers, &form);
        let login = form
            .get("token")
            .and_then(|token| sim.state().ledger.find(token).map(|it| it.user.clone()));
        let client = claim.as_ref().map(|claim| claim.id.clone());
        let call = Call { client, login, ..Call::plain(endpoint) };
        Self { form, claim, call }
    }

    fn revoke(&self, sim: &Sim) -> Answer {
        let mut state = sim.state();
        let client = match client_auth::authenticate(self.claim.as_ref(), &state.settings.clients) {
            Ok(client) => client.id.clone(),
            Err(refusal) => return refusal.answer(),
        };
        let Some(token) = self.form.get("token") else {
            return Answer::error("invalid_request", "token is missing");
        };
        state.ledger.revoke(token, &client, sim.clock.now_ms());
        Answer::status(200)
    }

    fn introspect(&self, sim: &Sim) -> Answer {
        let state = sim.state();
        if let Err(refusal) =
            client_auth::authenticate(self.claim.as_ref(), &state.settings.clients)
        {
            return refusal.answer();
        }
        let now = sim.clock.now_ms();
        let record = self.form.get("token").and_then(|token| state.ledger.find(token));
        let body =
            record.filter(|record| record.is_live(now)).map_or(json!({"active": false}), described);
        Answer::json(StatusCode::OK, &body)
    }
}

fn described(record: &TokenRecord) -> Value {
    let mut body = json!({
        "active": true,
        "client_id": record.client,
        "username": record.user,
        "email": record.user,
        "sub": subject(&record.user),
        "scope": record.scope,
        "iat": record.issued_ms / 1000,
    });
    if record.kind == Kind::Access {
        body["token_type"] = json!("Bearer");
    }
    if let Some(end) = record.expires_ms {
        body["exp"] = json!(end / 1000);
    }
    body
}
