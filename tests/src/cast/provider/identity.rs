//! Who a mailbox is to the outside: subject and id_token.
//!
//! A subject is a function of the address alone, so it is the same after every restart. Never looks at tokens. Next:
//! [`super::token`].

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::codes::AuthorizeQuery;
use super::keys::Keys;
use super::settings::IdToken;
use super::sim::Sim;

const LIFE_S: i64 = 3600;

/// The stable subject of a mailbox.
pub fn subject(user: &str) -> String {
    let digest = Sha256::digest(user.to_ascii_lowercase().as_bytes());
    format!("sub-{}", HEXLOWER.encode(&digest[..8]))
}

/// An id_token for an authorization request (OpenID Connect Core section 2), bent as told; none without `openid`.
pub fn id_token(sim: &Sim, query: &AuthorizeQuery, user: &str, bend: IdToken) -> Option<String> {
    if bend == IdToken::Missing || !query.scope.split(' ').any(|scope| scope == "openid") {
        return None;
    }
    let now = sim.clock.now_s();
    let mut claims = json!({
        "iss": &*sim.issuer,
        "sub": subject(user),
        "aud": query.client_id,
        "iat": now,
        "exp": now + LIFE_S,
        "email": user,
        "email_verified": true,
    });
    if let Some(nonce) = &query.nonce {
        claims["nonce"] = json!(nonce);
    }
    match bend {
        IdToken::WrongNonce => claims["nonce"] = json!("another nonce"),
        IdToken::WrongAudience => claims["aud"] = json!("another-client"),
        IdToken::WrongIssuer => claims["iss"] = json!("https://another-issuer.invalid"),
        IdToken::Expired => {
            claims["iat"] = json!(now - 2 * LIFE_S);
            claims["exp"] = json!(now - LIFE_S);
        }
        IdToken::Unsigned => return Some(Keys::unsigned(&claims)),
        IdToken::ForeignKey => return sim.keys.forge(&claims).ok(),
        IdToken::Right | IdToken::Missing => {}
    }
    sim.keys.sign(&claims).ok()
}
