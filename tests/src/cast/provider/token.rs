//! The token endpoint: a code or a refresh token in, an access token out.
//!
//! Everything it decides is in the ledger; here it is only unpacked and said in OAuth's words. The answer is a value, so
//! that it can be lost on the way. Next: [`super::inspect`].

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD as BASE64URL;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::client_auth::{self, Claim, Form};
use super::codes::{AuthorizeQuery, Code};
use super::faults::{Call, Endpoint};
use super::identity::id_token;
use super::ledger::{Grant, Issued, Refusal};
use super::line::Cutter;
use super::sim::{Sim, State as SimState};
use super::stage::perform;

/// `POST /token`.
pub async fn token(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = client_auth::form(&body);
    let claim = client_auth::claim(&headers, &form);
    let call = call_of(&sim, &form, claim.as_ref());
    perform(&sim, &cutter, call, || exchange(&sim, &form, claim.as_ref())).await
}

fn call_of(sim: &Sim, form: &Form, claim: Option<&Claim>) -> Call {
    let mut state = sim.state();
    let refresh_token = form.get("refresh_token").cloned();
    let by_token =
        refresh_token.as_ref().and_then(|token| state.ledger.find(token)).map(|it| it.user.clone());
    let by_code =
        form.get("code").and_then(|code| state.codes.find(code)).map(|code| code.user.clone());
    Call {
        endpoint: Endpoint::Token,
        grant_type: form.get("grant_type").cloned(),
        client: claim.map(|claim| claim.id.clone()),
        login: by_token.or(by_code),
        refresh_token,
    }
}

fn exchange(sim: &Sim, form: &Form, claim: Option<&Claim>) -> Answer {
    let mut state = sim.state();
    let client = match client_auth::authenticate(claim, &state.settings.clients) {
        Ok(client) => client.id.clone(),
        Err(refusal) => return refusal.answer(),
    };
    match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => by_code(sim, &mut state, form, &client),
        Some("refresh_token") => by_refresh(sim, &mut state, form, &client),
        Some(_) => {
            Answer::error("unsupported_grant_type", "only authorization_code and refresh_token")
        }
        None => Answer::error("invalid_request", "grant_type is missing"),
    }
}

fn by_code(sim: &Sim, state: &mut SimState, form: &Form, client: &str) -> Answer {
    let now = sim.clock.now_ms();
    let found = form.get("code").and_then(|code| state.codes.find(code));
    let Some(code) = found.cloned() else { return Answer::error("invalid_grant", "unknown code") };
    if let Some(family) = code.family {
        state.ledger.revoke_family(family, now);
        return Answer::error("invalid_grant", "the code was used before");
    }
    if let Err(why) = check_code(&code, form, client, now) {
        return Answer::error("invalid_grant", why);
    }
    let grant = Grant {
        user: code.user.clone(),
        client: client.to_owned(),
        scope: granted(&code.query.scope, &state.settings.withheld_scopes),
    };
    let SimState { ledger, settings, codes, .. } = state;
    let issued = ledger.open(&grant, settings, now);
    if let Some(used) = codes.find(&code.value) {
        used.family = Some(issued.access.family);
    }
    let id_token = id_token(sim, &code.query, &code.user, settings.id_token);
    said(&issued, id_token, settings.access_life_s)
}

fn granted(asked: &str, withheld: &[String]) -> String {
    let scopes = asked.split(' ').filter(|scope| withheld.iter().all(|held| held != scope));
    scopes.collect::<Vec<_>>().join(" ")
}

fn check_code(code: &Code, form: &Form, client: &str, now: i64) -> Result<(), &'static str> {
    let AuthorizeQuery { client_id, redirect_uri, code_challenge, .. } = &code.query;
    if client_id != client {
        return Err("the code was issued to another client");
    }
    if form.get("redirect_uri") != Some(redirect_uri) {
        return Err("redirect_uri is not that of the request");
    }
    if now >= code.expires_ms {
        return Err("the code has expired");
    }
    let verifier = form.get("code_verifier").map(String::as_bytes).unwrap_or_default();
    let challenge = BASE64URL.encode(&Sha256::digest(verifier));
    if code_challenge.as_ref() != Some(&challenge) {
        return Err("code_verifier does not fit");
    }
    Ok(())
}

fn by_refresh(sim: &Sim, state: &mut SimState, form: &Form, client: &str) -> Answer {
    let Some(token) = form.get("refresh_token") else {
        return Answer::error("invalid_request", "refresh_token is missing");
    };
    let SimState { ledger, settings, .. } = state;
    let scope = form.get("scope").map(String::as_str);
    match ledger.refresh(token, client, scope, settings, sim.clock.now_ms()) {
        Ok(issued) => said(&issued, None, settings.access_life_s),
        Err(Refusal::Scope) => Answer::error("invalid_scope", "more than was granted"),
        Err(Refusal::Expired) => Answer::error("invalid_grant", "Token has expired."),
        Err(Refusal::Revoked) => Answer::error("invalid_grant", "Token has been revoked."),
        Err(Refusal::Reused) => {
            Answer::error("invalid_grant", "Token was used before; all its kin are revoked.")
        }
        Err(_) => Answer::error("invalid_grant", "Bad Request"),
    }
}

/// The successful answer (RFC 6749 section 5.1).
fn said(issued: &Issued, id_token: Option<String>, life_s: i64) -> Answer {
    let mut body = json!({
        "access_token": issued.access.token,
        "token_type": "Bearer",
        "expires_in": life_s,
        "scope": issued.access.scope,
    });
    if let Some(refresh) = &issued.refresh {
        body["refresh_token"] = json!(refresh.token);
    }
    if let Some(id_token) = id_token {
        body["id_token"] = json!(id_token);
    }
    let carried = [Some(issued.access.id), issued.refresh.as_ref().map(|refresh| refresh.id)];
    Answer::json(StatusCode::OK, &body).carrying(carried)
}
