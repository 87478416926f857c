//! What a consent gave us: refresh tokens in generations, and the access tokens they bought.
//!
//! Never overwrites: each answer of the provider is a new generation, the newest is current (design section 7).
//! Invariant: a generation knows its parent, so a late answer finds its place. Next: `token` says what is fresh enough.

use std::time::Duration;

use crate::clock::Time;
use crate::domain::ids::{AccountId, AttemptId, GrantId, TokenId};
use crate::domain::refresh::{Bearer, Generation};
use crate::domain::secret::Sealed;

/// One generation of an account's refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its row.
    pub id: GrantId,
    /// The account.
    pub account: AccountId,
    /// Counts up from 1 within the account.
    pub generation: i64,
    /// The generation it was bought with; 0 for a consent.
    pub parent: i64,
    /// The refresh token; absent where the provider gave none.
    pub refresh_token: Option<Sealed>,
    /// When the answer came.
    pub received_at: Time,
    /// Whether it has bought a token since.
    pub proven: bool,
    /// When the provider said that the grant ends, if it did.
    pub ends_at: Option<Time>,
    /// The refresh token is the parent's: the answer brought none.
    pub carried: bool,
    /// How often the provider called it dead.
    pub refusals: i64,
}

/// The access token of an account for one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Its row.
    pub id: TokenId,
    /// The account.
    pub account: AccountId,
    /// The target of the preset, such as `mail`.
    pub audience: String,
    /// The generation it came with.
    pub generation: i64,
    /// The token.
    pub sealed: Sealed,
    /// As the provider said, `Bearer` almost always.
    pub token_type: String,
    /// What it grants.
    pub scopes: Vec<String>,
    /// When it came.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// SHA-256 of the token, to recognise one that was rejected. A token cannot be guessed, so a plain hash tells nothing.
    pub fingerprint: Vec<u8>,
    /// Whether a caller said that the resource refuses it.
    pub rejected: bool,
    /// When it, or one before it, was last handed out; coarse.
    pub used_at: Option<Time>,
}

/// One attempt to buy a token, written before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its row.
    pub id: AttemptId,
    /// The account.
    pub account: AccountId,
    /// The target.
    pub audience: String,
    /// The generation that is spent.
    pub generation: i64,
    /// Which replica makes it.
    pub owner: String,
    /// When it was written down.
    pub started_at: Time,
    /// When its end was written down.
    pub ended_at: Option<Time>,
    /// How it ended: a class of refusal, `lost` if no answer came, or empty while it runs. One that worked leaves a grant and
    /// no attempt.
    pub outcome: String,
    /// The provider's code.
    pub code: String,
}

impl Grant {
    /// What the decisions need of it.
    pub const fn generation(&self) -> Generation {
        Generation {
            number: self.generation,
            parent: self.parent,
            received_at: self.received_at,
            ends_at: self.ends_at,
            usable: self.refresh_token.is_some(),
            carried: self.carried,
            refusals: self.refusals,
        }
    }
}

impl AccessToken {
    /// What the schedule needs of it.
    pub fn bearer(&self) -> Bearer {
        Bearer {
            audience: self.audience.clone(),
            generation: self.generation,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            used_at: self.used_at,
            rejected: self.rejected,
        }
    }

    /// How long the provider lets a token like this live.
    pub fn life(&self) -> Duration {
        self.issued_at.until(self.expires_at)
    }
}
