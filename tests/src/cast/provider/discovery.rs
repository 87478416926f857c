//! What the provider says about itself: metadata and keys.
//!
//! OpenID Connect Discovery and RFC 8414 in one document. Read-only. Next: [`super::authorize`].

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::Answer;
use super::faults::{Call, Endpoint};
use super::line::Cutter;
use super::settings::Iss;
use super::sim::Sim;
use super::stage::perform;

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
pub async fn metadata(
    State(sim): State<Sim>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
) -> Response {
    perform(&sim, &cutter, Call::plain(Endpoint::Discovery), || document(&sim)).await
}

/// `GET /jwks`.
pub async fn jwks(State(sim): State<Sim>, ConnectInfo(cutter): ConnectInfo<Cutter>) -> Response {
    let work = || Answer::json(StatusCode::OK, sim.keys.jwks());
    perform(&sim, &cutter, Call::plain(Endpoint::Jwks), work).await
}

fn document(sim: &Sim) -> Answer {
    let (scopes, iss, revokes) = {
        let settings = &sim.state().settings;
        let iss = settings.iss != Iss::Unsupported;
        (settings.scopes.clone(), iss, !settings.without_revocation)
    };
    let at = |path: &str| format!("{}{path}", sim.issuer);
    let methods = ["client_secret_basic", "client_secret_post", "none"];
    let body = json!({
        "issuer": &*sim.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": revokes.then(|| at("/revoke")),
        "introspection_endpoint": at("/introspect"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "authorization_response_iss_parameter_supported": iss,
    });
    Answer::json(StatusCode::OK, &body)
}
