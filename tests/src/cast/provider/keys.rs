//! The signing key of id_tokens, made at start.
//!
//! ES256 on a fresh P-256 key; a second key that the JWKS never shows stands for a forger's. Keys never leave memory.
//! Next: [`super::token`], which has id_tokens made.

use anyhow::{Context, Result};
use data_encoding::BASE64URL_NOPAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

const KEY_ID: &str = "sim-1";

/// The simulator's keys.
pub struct Keys {
    own: EncodingKey,
    foreign: EncodingKey,
    jwks: Value,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys([secret])")
    }
}

impl Keys {
    /// Makes fresh keys.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub fn generate() -> Result<Self> {
        let (own, point) = fresh_key()?;
        let (foreign, _) = fresh_key()?;
        // An uncompressed point: 4, then x and y of 32 bytes each (SEC 1 section 2.3.3).
        let x = BASE64URL.encode(point.get(1..33).context("short point")?);
        let y = BASE64URL.encode(point.get(33..65).context("short point")?);
        let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": x, "y": y});
        Ok(Self { own, foreign, jwks: json!({ "keys": [key] }) })
    }

    /// The public keys (RFC 7517).
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// Signs claims with the published key.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        signed(claims, &self.own)
    }

    /// Signs claims with a key that nobody publishes, under the published key's name.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn forge(&self, claims: &Value) -> Result<String> {
        signed(claims, &self.foreign)
    }

    /// Does not sign at all: `alg` is `none`.
    pub fn unsigned(claims: &Value) -> String {
        let part = |value: &Value| BASE64URL.encode(value.to_string().as_bytes());
        format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
    }
}

fn fresh_key() -> Result<(EncodingKey, Vec<u8>)> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((EncodingKey::from_ec_der(pair.serialized_der()), pair.public_key_raw().to_vec()))
}

fn signed(claims: &Value, key: &EncodingKey) -> Result<String> {
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
    Ok(jsonwebtoken::encode(&header, claims, key)?)
}
