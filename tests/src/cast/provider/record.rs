//! The words of the ground truth: what is remembered about tokens, their reuse and the calls.
//!
//! Plain data in the JSON form of `/_sim/truth`. Times are milliseconds since 1970 by the simulator's clock. Records are
//! never deleted. Next: [`super::ledger`], which writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Opens mailboxes.
    Access,
    /// Buys access tokens.
    Refresh,
}

/// One token that was ever issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Number in order of issue, from 0.
    pub id: usize,
    /// The token itself. It is worth nothing outside the simulator.
    pub token: String,
    /// Access or refresh.
    pub kind: Kind,
    /// The mailbox that consented.
    pub user: String,
    /// The app it was issued to.
    pub client: String,
    /// Space-separated scopes.
    pub scope: String,
    /// All tokens that descend from one consent share a family.
    pub family: usize,
    /// The refresh token that bought this one; absent if it came from a code.
    pub parent: Option<usize>,
    /// Refreshes between the consent and this token.
    pub generation: u32,
    /// When it was issued.
    pub issued_ms: i64,
    /// When it ends by itself; absent means never.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// When a rotation replaced it (refresh tokens only).
    pub superseded_ms: Option<i64>,
    /// How often it was shown to any endpoint or mailbox, whatever the answer.
    pub presented: u32,
    /// How often it was accepted.
    pub accepted: u32,
    /// Most refreshes with it in flight at one time.
    pub max_concurrent: u32,
    /// Whether the answer that carries it was handed to the socket whole. One issued behind the clients' back is delivered to
    /// nobody.
    #[serde(default)]
    pub delivered: bool,
}

impl TokenRecord {
    /// Whether it is neither revoked nor past its end at `now_ms`; rotation is another matter.
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|end| now_ms < end)
    }
}

/// A refresh token that was shown again after it had been replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reuse {
    /// When.
    pub at_ms: i64,
    /// The token.
    pub token_id: usize,
    /// Its family.
    pub family: usize,
    /// Its user.
    pub user: String,
    /// Whether that killed the family; false in rotation modes that put up with it.
    pub killed: bool,
}

/// One call of an OAuth endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// When it arrived.
    pub at_ms: i64,
    /// Which endpoint.
    pub endpoint: super::faults::Endpoint,
    /// The grant type, at the token endpoint.
    pub grant_type: Option<String>,
    /// The app that called, as far as it said.
    pub client: Option<String>,
    /// The mailbox it was about, as far as the simulator can tell.
    pub login: Option<String>,
}

/// Numbers over everything since the start. Maps by app know 64 names; the rest share `other`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Calls by endpoint name.
    pub calls: BTreeMap<String, u64>,
    /// Calls of the token endpoint by grant type.
    pub grants: BTreeMap<String, u64>,
    /// Faults that were acted out.
    pub faults: u64,
    /// Calls that came before a `Retry-After` (at most an hour of it) was over.
    pub early_calls: u64,
    /// The same by app.
    pub early_calls_by_app: BTreeMap<String, u64>,
    /// The second in which the token endpoint was called most.
    pub token_peak: Peak,
    /// Most refreshes in flight at one time for one mailbox.
    pub max_concurrent: u32,
    /// The same by mailbox.
    pub max_concurrent_by_user: BTreeMap<String, u32>,
    /// Refreshes in flight now.
    pub in_flight: u32,
    /// Refresh tokens shown after they had been replaced.
    pub reuse: u64,
    /// Those of them that killed a family.
    pub reuse_kills: u64,
    /// Tokens ever issued.
    pub tokens: u64,
}

/// The calls of one second, by the simulator's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Which, counted from 1970.
    pub second: i64,
    /// How many.
    pub calls: u64,
}

/// The calls of the token endpoint over time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rate {
    /// The busiest second ever.
    pub peak: Peak,
    /// The busiest second ever of each app.
    pub peak_by_app: BTreeMap<String, Peak>,
    /// The last 86,400 seconds that had calls, in order: when, and how many by app.
    pub seconds: Vec<Second>,
}

/// One second with calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Second {
    /// Which, counted from 1970.
    pub second: i64,
    /// How many calls.
    pub calls: u64,
    /// How many by app.
    pub by_app: BTreeMap<String, u64>,
}

/// What is known of one mailbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserTruth {
    /// Refreshes it was asked for, whatever the answer.
    pub refresh_calls: u64,
    /// Those in flight now.
    pub in_flight: u32,
    /// Most in flight at one time.
    pub max_concurrent: u32,
    /// Its refresh tokens that were shown after they had been replaced.
    pub reuse: u64,
    /// Its newest refresh token that is live and not replaced; none if all are dead.
    pub current: Option<TokenRecord>,
}

/// Everything the provider knows, at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The moment, by the simulator's clock.
    pub now_ms: i64,
    /// Every token ever issued, by id.
    pub tokens: Vec<TokenRecord>,
    /// Every reuse.
    pub reuse: Vec<Reuse>,
    /// The last calls, at most 65,536.
    pub calls: Vec<CallRecord>,
}
