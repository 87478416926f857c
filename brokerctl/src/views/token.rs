//! Access tokens as they are shown.

use serde::Serialize;
use token_broker_client::{AccessToken, v1};

use super::reason;
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// A token. To people and scripts without `--json` the token alone.
#[derive(Serialize)]
pub(crate) struct TokenView {
    access_token: String,
    token_type: String,
    expire_time: Option<String>,
    expires_in_seconds: u64,
    refresh_after: Option<String>,
    scopes: Vec<String>,
    user: String,
    provider: String,
    account: String,
    audience: String,
    generation: i64,
    stale: bool,
    last_error: Option<String>,
}

impl From<&AccessToken> for TokenView {
    fn from(token: &AccessToken) -> Self {
        Self {
            access_token: token.expose().into(),
            token_type: token.token_type().into(),
            expire_time: iso(Some(token.expire_time().into())),
            expires_in_seconds: token.expires_in().as_secs(),
            refresh_after: iso(Some(token.refresh_after().into())),
            scopes: token.scopes().to_vec(),
            user: token.user().into(),
            provider: token.provider().into(),
            account: token.account().into(),
            audience: token.audience().into(),
            generation: token.generation(),
            stale: token.is_stale(),
            last_error: token.last_error().and_then(reason),
        }
    }
}

impl View for TokenView {
    fn draw(&self, _: &Screen) -> String {
        self.access_token.clone()
    }
}

/// How a token stands.
#[derive(Serialize)]
pub(crate) struct TokenStatusView {
    account: String,
    audience: String,
    available: bool,
    expire_time: Option<String>,
    reason: Option<String>,
    generation: i64,
}

impl From<v1::GetTokenStatusResponse> for TokenStatusView {
    fn from(status: v1::GetTokenStatusResponse) -> Self {
        Self {
            reason: reason(status.reason()),
            account: status.account,
            audience: status.audience,
            available: status.available,
            expire_time: iso(status.expire_time),
            generation: status.generation,
        }
    }
}

impl View for TokenStatusView {
    fn draw(&self, screen: &Screen) -> String {
        let token = if self.available { "available" } else { "not at hand" };
        screen.record(&[
            ("Account", names::id(&self.account).into()),
            ("Audience", self.audience.clone()),
            ("Token", token.into()),
            ("Ends", screen.time(&self.expire_time)),
            ("In the way", self.reason.clone().unwrap_or_default()),
        ])
    }
}
