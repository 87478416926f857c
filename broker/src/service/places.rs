//! Where each sealed value lives: what binds a ciphertext to its row and column.
//!
//! Invariant: every place is named here and nowhere else, so that no two columns can share one; what belongs to somebody is
//! bound to them too.

use sha2::{Digest, Sha256};

use crate::domain::ids::{AccountId, AppId, AppSecretId, AttemptId, ConsentId, GrantId, TokenId};
use crate::domain::parts::Parts;
use crate::seal::Place;

/// A client secret of an app.
pub(super) fn client_secret(id: AppSecretId, app: AppId) -> Place {
    place("app_secrets", "sealed", owned(&[&id.bytes(), &app.bytes()]), 0)
}

/// A refresh token of one generation of an account.
pub fn refresh_token(id: GrantId, account: AccountId, generation: i64) -> Place {
    place("grants", "refresh_token", owned(&[&id.bytes(), &account.bytes()]), generation)
}

/// An access token of one generation of an account, for one audience.
pub fn access_token(id: TokenId, (account, audience): (AccountId, &str), generation: i64) -> Place {
    let row = owned(&[&id.bytes(), &account.bytes(), audience.as_bytes()]);
    place("access_tokens", "sealed", row, generation)
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

/// What a provider handed out, in a spill file.
pub(super) fn spill(id: AttemptId) -> Place {
    place("spill", "answer", id.bytes(), 0)
}

/// A row together with whom it belongs to. Without the owner a database writer could hang a stranger's token on an account
/// of their own: the row would keep its id, and the token would open.
fn owned(parts: &[&[u8]]) -> [u8; 16] {
    let joined = parts.iter().fold(Parts::new("owned row"), |all, part| all.with(part));
    let mut row = [0; 16];
    row.copy_from_slice(&Sha256::digest(joined.as_bytes())[..16]);
    row
}

fn place(table: &'static str, column: &'static str, row: [u8; 16], generation: i64) -> Place {
    Place { table, column, row, generation: generation.unsigned_abs() }
}
