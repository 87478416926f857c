//! An access token and what is known of it.
//!
//! Never prints itself. Invariant: how long it lives is measured on tokio's clock from the moment it came, so a wall
//! clock that is set later neither kills nor prolongs it. Next: `cache` keeps these.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokenbroker_proto::v1::{ErrorReason, GetAccessTokenResponse};
use tokio::time::Instant;

use crate::clock::Moment;
use crate::errors::Error;
use crate::key::Secret;

/// What a caller that names no `min_ttl` gets at least, where the provider's tokens live long enough.
const USUAL_MIN_TTL: Duration = Duration::from_secs(300);

/// An access token. Clones share it; `Debug` shows everything but the token.
#[derive(Clone)]
pub struct AccessToken {
    granted: Arc<Granted>,
    stale: Option<ErrorReason>,
}

struct Granted {
    secret: Secret,
    token_type: String,
    scopes: Vec<String>,
    user: String,
    provider: String,
    account: String,
    audience: String,
    generation: i64,
    expire_time: SystemTime,
    refresh_time: SystemTime,
    arrived: Instant,
    expires: Instant,
    refresh_at: Instant,
}

impl AccessToken {
    pub(crate) fn from_wire(answer: GetAccessTokenResponse, now: Moment) -> Result<Self, Error> {
        let GetAccessTokenResponse { access_token, expire_time, refresh_after, .. } = answer;
        let secret = Secret::new(access_token);
        let at = |stamp: Option<prost_types::Timestamp>| SystemTime::try_from(stamp?).ok();
        let Some(expire_time) = at(expire_time).filter(|_| !secret.expose().is_empty()) else {
            return Err(Error::Unexpected {
                code: "Ok".into(),
                message: "a token without content or end".into(),
            });
        };
        let refresh_time = at(refresh_after).unwrap_or(expire_time);
        let granted = Granted {
            secret,
            token_type: answer.token_type,
            scopes: answer.scopes,
            user: answer.user,
            provider: answer.provider,
            account: answer.account,
            audience: answer.audience,
            generation: answer.generation,
            expire_time,
            refresh_time,
            arrived: now.instant,
            expires: now.instant_of(expire_time),
            refresh_at: now.instant_of(refresh_time),
        };
        let reason = ErrorReason::try_from(answer.last_error).unwrap_or_default();
        Ok(Self { granted: Arc::new(granted), stale: answer.stale.then_some(reason) })
    }

    /// The token itself. Every use is a place to check.
    pub fn expose(&self) -> &str {
        self.granted.secret.expose()
    }

    /// How to present it: `Bearer`, RFC 6749 section 7.1.
    pub fn token_type(&self) -> &str {
        &self.granted.token_type
    }

    /// When it ends.
    pub fn expire_time(&self) -> SystemTime {
        self.granted.expire_time
    }

    /// From here on it is worth asking again; the cache does.
    pub fn refresh_after(&self) -> SystemTime {
        self.granted.refresh_time
    }

    /// How long it still lives.
    pub fn expires_in(&self) -> Duration {
        self.left(Instant::now())
    }

    /// What it grants, as the provider said.
    pub fn scopes(&self) -> &[String] {
        &self.granted.scopes
    }

    /// The user name at the provider, for XOAUTH2 and OAUTHBEARER.
    pub fn user(&self) -> &str {
        &self.granted.user
    }

    /// The preset's name, such as `google`.
    pub fn provider(&self) -> &str {
        &self.granted.provider
    }

    /// The account's full name, `projects/{project}/accounts/{account}`.
    pub fn account(&self) -> &str {
        &self.granted.account
    }

    /// The target it is for, such as `mail`.
    pub fn audience(&self) -> &str {
        &self.granted.audience
    }

    /// Counts the refreshes behind it; larger is newer.
    pub fn generation(&self) -> i64 {
        self.granted.generation
    }

    /// Whether asking for a newer one failed and this one is handed out because it still lives.
    pub fn is_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// Why asking for a newer one failed, if the broker gave a reason.
    pub fn last_error(&self) -> Option<ErrorReason> {
        self.stale.filter(|reason| *reason != ErrorReason::Unspecified)
    }

    /// Its SHA-256: what may be said of it without saying it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }

    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.granted.expires.saturating_duration_since(now)
    }

    pub(crate) fn refresh_at(&self) -> Instant {
        self.granted.refresh_at
    }

    /// Whether it lives long enough for a caller that wants `min_ttl`. Who wants nothing special gets five minutes,
    /// or half of what there was where tokens are that short.
    pub(crate) fn lasts(&self, min_ttl: Option<Duration>, now: Instant) -> bool {
        let whole = self.granted.expires.saturating_duration_since(self.granted.arrived);
        let wanted = min_ttl.unwrap_or_else(|| USUAL_MIN_TTL.min(whole / 2));
        let left = self.left(now);
        !left.is_zero() && left >= wanted
    }

    pub(crate) fn as_stale(&self, why: &Error) -> Self {
        Self { granted: Arc::clone(&self.granted), stale: Some(why.reason().unwrap_or_default()) }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token", &self.granted.secret)
            .field("account", &self.granted.account)
            .field("audience", &self.granted.audience)
            .field("generation", &self.granted.generation)
            .field("expires_in", &self.expires_in())
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}
