//! Where each sealed value lives: what binds a ciphertext to its row and column.
//!
//! Invariant: every place is named here and nowhere else, so that no two columns can share one.

use crate::domain::ids::{AppSecretId, ConsentId, GrantId, TokenId};
use crate::seal::Place;

/// A client secret.
pub(super) fn client_secret(id: AppSecretId) -> Place {
    place("app_secrets", "sealed", id.bytes(), 0)
}

/// A refresh token of one generation.
pub(super) fn refresh_token(id: GrantId, generation: i64) -> Place {
    place("grants", "refresh_token", id.bytes(), generation)
}

/// An access token of one generation.
pub(super) fn access_token(id: TokenId, generation: i64) -> Place {
    place("access_tokens", "sealed", id.bytes(), generation)
}

/// A consent's PKCE verifier.
pub(super) fn verifier(id: ConsentId) -> Place {
    place("consents", "verifier", id.bytes(), 0)
}

/// A consent's nonce.
pub(super) fn nonce(id: ConsentId) -> Place {
    place("consents", "nonce", id.bytes(), 0)
}

/// What the provider answered to a consent that is pending.
pub(super) fn answer(id: ConsentId) -> Place {
    place("consents", "answer", id.bytes(), 0)
}

fn place(table: &'static str, column: &'static str, row: [u8; 16], generation: i64) -> Place {
    Place { table, column, row, generation: generation.unsigned_abs() }
}
