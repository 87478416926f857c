//! Who calls: tokens of workloads (OpenID Connect, Kubernetes projected service accounts), checked strictly (RFC 8725).
//!
//! Never falls back, never uses a key or an address that a token names itself, never takes a symmetric algorithm.
//! Invariant: a [`Vouched`] comes only out of a signature by a key of a configured issuer, for this broker's audience and
//! within its time. Next: `callers.rs` finds the caller whose rule fits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

pub use super::issuer_keys::{KeyPlace, KeysAway};
use crate::clock::{Clock, Time};
use crate::domain::caller_identity::Vouched;
use crate::providers::address::AddressRule;
use crate::providers::id_token::moment;
use crate::providers::issuer_keys::IssuerKeys;
use crate::providers::keys::Key;
use crate::providers::wire::{Wire, WireSettings, WireSetupError};

/// The longest token; a call's headers are bounded at twice that.
const LONGEST: usize = 8 * 1024;

/// An issuer that the operator trusts to say who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss`, compared byte for byte.
    pub issuer: String,
    /// What `aud` may name; one is enough.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeyPlace,
    /// More authorities to trust for its TLS certificate.
    pub ca_file: Option<PathBuf>,
    /// How its tokens may be signed.
    pub algorithms: Vec<SigningAlgorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How old a token may be, whatever its `exp` says.
    pub max_age: Duration,
    /// Which addresses its keys may be at.
    pub addresses: AddressRule,
}

/// An asymmetric algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningAlgorithm(Algorithm);

impl SigningAlgorithm {
    /// The names an operator may use (RFC 7518 section 3.1, RFC 8037).
    pub const NAMES: [&str; 9] =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

    /// An algorithm by its name.
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::NAMES.contains(&name);
        known.then(|| name.parse().ok()).flatten().map(Self)
    }

    /// What most issuers use.
    pub const fn usual() -> [Self; 2] {
        [Self(Algorithm::RS256), Self(Algorithm::ES256)]
    }
}

/// What is wrong with a token. Never says what stood in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not a signed JWT, or too long.
    #[error("it is not a signed JWT of at most 8 KiB")]
    Malformed,
    /// No configured issuer has this `iss`.
    #[error("it comes from an issuer that is not configured")]
    Issuer,
    /// Not one of the issuer's algorithms.
    #[error("its algorithm is not one of those configured for its issuer")]
    Algorithm,
    /// It demands an extension (`crit`), or says that it is something else (`typ`).
    #[error("its header demands or says something that is not supported")]
    Header,
    /// No key of the issuer fits it.
    #[error("no key of its issuer fits it")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// `aud` names none of the configured audiences.
    #[error("it is for another audience")]
    Audience,
    /// `exp` is missing or past.
    #[error("it has expired, or does not say when it will")]
    Expired,
    /// `iat` or `nbf` is missing, in the future, or `iat` is too long ago.
    #[error("its time of issue is missing, in the future or too long ago")]
    IssueTime,
    /// `sub` is missing, empty or too long.
    #[error("it does not name its subject")]
    Subject,
    /// The keys could not be had: nobody's fault who calls.
    #[error("the keys of its issuer cannot be had: {0}")]
    KeysAway(KeysAway),
}

/// The configured issuers. Clones share their keys.
#[derive(Clone, Default)]
pub struct Workloads(Arc<Vec<Issuer>>);

struct Issuer {
    settings: IssuerSettings,
    keys: IssuerKeys,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|issuer| &issuer.settings.issuer)).finish()
    }
}

impl Workloads {
    /// Knows these issuers. Asks none of them yet.
    ///
    /// # Errors
    /// A CA file cannot be used.
    pub fn new(issuers: &[IssuerSettings], clock: &Clock) -> Result<Self, WireSetupError> {
        let issuer = |settings: &IssuerSettings| {
            let wire = WireSettings {
                extra_ca_file: settings.ca_file.clone(),
                addresses: settings.addresses,
                total_deadline: Duration::from_secs(5),
                ..WireSettings::default()
            };
            let wire = Wire::new(wire, clock.clone())?;
            let (name, place) = (settings.issuer.clone(), settings.keys.clone());
            let keys = IssuerKeys::new(name, place, wire, clock.clone());
            Ok(Issuer { settings: settings.clone(), keys })
        };
        issuers.iter().map(issuer).collect::<Result<_, _>>().map(|all| Self(Arc::new(all)))
    }

    /// What a token says of its bearer, if a configured issuer signed that for us and it holds at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub async fn verify(&self, token: &str, now: Time) -> Result<Vouched, TokenRefused> {
        let name = claimed_issuer(token)?;
        let issuer = self.0.iter().find(|issuer| issuer.settings.issuer == name);
        let Issuer { settings, keys } = issuer.ok_or(TokenRefused::Issuer)?;
        let (algorithm, kid) = header(settings, token)?;
        let wanted = (algorithm, kid.as_deref());
        let keys = keys.find(wanted).await.map_err(TokenRefused::KeysAway)?;
        check(settings, token, (algorithm, &keys), now)
    }
}

/// Who a token claims to be from: chooses whose keys to check it with and proves nothing.
fn claimed_issuer(token: &str) -> Result<String, TokenRefused> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenRefused::Malformed);
    };
    if token.len() > LONGEST {
        return Err(TokenRefused::Malformed);
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenRefused::Malformed)?;
    let claims: Map<String, Value> =
        serde_json::from_slice(&claims).map_err(|_| TokenRefused::Malformed)?;
    text(&claims, "iss").map(str::to_owned).ok_or(TokenRefused::Issuer)
}

fn header(
    settings: &IssuerSettings,
    token: &str,
) -> Result<(Algorithm, Option<String>), TokenRefused> {
    // An algorithm the crate has no name for (`none`) fails here already.
    let header = decode_header(token).map_err(|_| TokenRefused::Algorithm)?;
    if !settings.algorithms.contains(&SigningAlgorithm(header.alg)) {
        return Err(TokenRefused::Algorithm);
    }
    let kinds = ["JWT", "AT+JWT", "APPLICATION/AT+JWT"];
    let known = header.typ.is_none_or(|typ| kinds.contains(&typ.to_ascii_uppercase().as_str()));
    if header.crit.is_some() || !known {
        return Err(TokenRefused::Header);
    }
    Ok((header.alg, header.kid))
}

/// Everything after the keys are there. Pure.
fn check(
    settings: &IssuerSettings,
    token: &str,
    (algorithm, keys): (Algorithm, &[Key]),
    now: Time,
) -> Result<Vouched, TokenRefused> {
    if keys.is_empty() {
        return Err(TokenRefused::UnknownKey);
    }
    let verified = keys.iter().find_map(|key| verified(token, algorithm, key));
    let claims = verified.ok_or(TokenRefused::Signature)?;
    if text(&claims, "iss") != Some(settings.issuer.as_str()) {
        return Err(TokenRefused::Issuer);
    }
    check_audience(&settings.audiences, &claims)?;
    check_times(settings, &claims, now)?;
    let subject = text(&claims, "sub")
        .filter(|sub| (1..=512).contains(&sub.len()) && !sub.chars().any(char::is_control));
    let subject = subject.ok_or(TokenRefused::Subject)?.to_owned();
    Ok(Vouched { issuer: settings.issuer.clone(), subject, claims })
}

/// The claims, if this key signed them. The crate checks the signature only; the claims are ours to check.
fn verified(token: &str, algorithm: Algorithm, key: &Key) -> Option<Map<String, Value>> {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(&key.jwk).ok()?;
    decode(token, &key, &rules).ok().map(|token| token.claims)
}

fn check_audience(audiences: &[String], claims: &Map<String, Value>) -> Result<(), TokenRefused> {
    let ours = |aud: &Value| aud.as_str().is_some_and(|aud| audiences.iter().any(|it| it == aud));
    let fits = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    };
    if fits { Ok(()) } else { Err(TokenRefused::Audience) }
}

fn check_times(
    settings: &IssuerSettings,
    claims: &Map<String, Value>,
    now: Time,
) -> Result<(), TokenRefused> {
    let expires = moment(claims, "exp").ok_or(TokenRefused::Expired)?;
    if now >= expires.after(settings.leeway) {
        return Err(TokenRefused::Expired);
    }
    let issued = moment(claims, "iat").ok_or(TokenRefused::IssueTime)?;
    let not_before = match claims.get("nbf") {
        None => issued,
        Some(_) => moment(claims, "nbf").ok_or(TokenRefused::IssueTime)?,
    };
    let future = now.after(settings.leeway);
    let too_old = now > issued.after(settings.max_age).after(settings.leeway);
    if issued > future || not_before > future || too_old {
        return Err(TokenRefused::IssueTime);
    }
    Ok(())
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
