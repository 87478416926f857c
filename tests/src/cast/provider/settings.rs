//! What the provider simulator can be told about itself, at start and while it runs.
//!
//! Plain data; it decides nothing. Every field may be changed at run time except `port` and `seed`, which count at start
//! only. The JSON form is what `/_sim/settings` speaks. Next: [`super::faults`] for misbehaviour by rule.

use serde::{Deserialize, Serialize};

/// All knobs of the simulator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// Port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Makes the random parts of tokens repeatable; for simulations only.
    pub seed: Option<u64>,
    /// Freezes the clock at this many milliseconds since 1970; absent, it runs.
    pub frozen_at_ms: Option<i64>,
    /// Registered OAuth apps. The first is the one that `Provider::client_id` names.
    pub clients: Vec<Client>,
    /// Mailboxes that the login page offers; any other may be typed.
    pub users: Vec<String>,
    /// Scopes that discovery names; others are granted all the same.
    pub scopes: Vec<String>,
    /// Scopes that the owner does not grant although they are asked for.
    pub withheld_scopes: Vec<String>,
    /// Life of an access token in seconds.
    pub access_life_s: i64,
    /// Life of a refresh token in seconds; absent means for ever.
    pub refresh_life_s: Option<i64>,
    /// What a refresh does to the refresh token.
    pub rotation: Rotation,
    /// Who answers the consent page.
    pub consent: Consent,
    /// The `iss` parameter of authorization responses (RFC 9207).
    pub iss: Iss,
    /// How id_tokens are bent.
    pub id_token: IdToken,
    /// Wait before every call of the OAuth endpoints is processed, in milliseconds. All waits together: at most 60,000.
    pub latency_ms: u64,
    /// Up to so many milliseconds more, at random.
    pub latency_jitter_ms: u64,
    /// Wait between processing and answering, in milliseconds: who dies then has lost an answer.
    pub answer_latency_ms: u64,
    /// Up to so many milliseconds more, at random.
    pub answer_jitter_ms: u64,
    /// The metadata name no revocation endpoint, as with providers that have none.
    pub without_revocation: bool,
    /// All OAuth endpoints answer 503.
    pub outage: bool,
    /// Up for a while, down (503) for a while, by the simulator's clock.
    pub flapping: Option<Flapping>,
    /// What access tokens begin with; a leak scan can look for it.
    pub access_prefix: String,
    /// What refresh tokens begin with; a leak scan can look for it.
    pub refresh_prefix: String,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            port: 0,
            seed: None,
            frozen_at_ms: None,
            clients: vec![Client::default()],
            users: vec!["alice@example.test".to_owned(), "bob@example.test".to_owned()],
            scopes: ["openid", "email", "profile", "offline_access", "mail"]
                .map(str::to_owned)
                .to_vec(),
            withheld_scopes: Vec::new(),
            access_life_s: 3600,
            refresh_life_s: None,
            rotation: Rotation::None,
            consent: Consent::Page,
            iss: Iss::Right,
            id_token: IdToken::Right,
            without_revocation: false,
            latency_ms: 0,
            latency_jitter_ms: 0,
            answer_latency_ms: 0,
            answer_jitter_ms: 0,
            outage: false,
            flapping: None,
            access_prefix: "at-".to_owned(),
            refresh_prefix: "rt-".to_owned(),
        }
    }
}

impl ProviderSettings {
    /// What a refresh by `client` does to the refresh token.
    pub fn rotation_of(&self, client: &str) -> Rotation {
        let named = self.clients.iter().find(|known| known.id == client);
        named.and_then(|client| client.rotation).unwrap_or(self.rotation)
    }
}

/// One registered OAuth app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The public identifier.
    pub id: String,
    /// Secrets that may be used side by side; none makes it a public client.
    pub secrets: Vec<ClientSecret>,
    /// Redirect URIs, compared byte by byte; none admits any URI on loopback.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// What a refresh does to this app's refresh tokens, where it differs from the rest.
    #[serde(default)]
    pub rotation: Option<Rotation>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            id: "test-client".to_owned(),
            secrets: vec![ClientSecret::valid("cs-test-client")],
            redirect_uris: Vec::new(),
            rotation: None,
        }
    }
}

/// One secret of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    /// The secret itself.
    pub value: String,
    /// An expired one is answered with `invalid_client`.
    #[serde(default)]
    pub expired: bool,
}

impl ClientSecret {
    /// A secret that works.
    pub fn valid(value: &str) -> Self {
        Self { value: value.to_owned(), expired: false }
    }
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Rotation {
    /// It stays; no new one is returned (Google).
    None,
    /// A new one is returned and the old one stays valid (Microsoft).
    Replace,
    /// A new one is returned; the old one works for a while, then its use kills the family.
    Grace {
        /// For how long, by the simulator's clock.
        seconds: i64,
    },
    /// Single use: a second use kills the family.
    Strict,
}

/// Who answers the consent page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Consent {
    /// A person, on an HTML page.
    Page,
    /// Nobody: consents at once as `login_hint`, else as the first of `users`.
    Auto,
    /// Nobody: consents at once as this user, whatever `login_hint` says.
    As {
        /// The mailbox.
        user: String,
    },
    /// Nobody: refuses at once.
    Deny {
        /// The OAuth error, such as `access_denied`.
        error: String,
    },
}

/// The `iss` parameter of authorization responses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Iss {
    /// Sent, and announced by discovery.
    Right,
    /// Not sent, though discovery announces it.
    Missing,
    /// Neither sent nor announced.
    Unsupported,
    /// Another issuer's name: a mix-up attack.
    Other {
        /// That name.
        value: String,
    },
}

/// How id_tokens are bent; each is an attack that a client must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdToken {
    /// As OpenID Connect wants it.
    Right,
    /// Not in the answer.
    Missing,
    /// Another nonce.
    WrongNonce,
    /// Made out to another client.
    WrongAudience,
    /// In another issuer's name.
    WrongIssuer,
    /// Ended an hour ago.
    Expired,
    /// `alg` is `none`.
    Unsigned,
    /// Signed with a key that the JWKS does not hold.
    ForeignKey,
}

/// A provider that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// Milliseconds up, from the first of each period.
    pub up_ms: i64,
    /// Milliseconds down.
    pub down_ms: i64,
}

impl Flapping {
    /// Whether the provider is down at `now_ms`.
    pub fn is_down(self, now_ms: i64) -> bool {
        let period = self.up_ms.saturating_add(self.down_ms).max(1);
        now_ms.rem_euclid(period) >= self.up_ms
    }
}
