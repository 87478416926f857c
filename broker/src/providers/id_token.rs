//! Who consented: ID tokens, checked strictly (OpenID Connect Core section 3.1.3.7).
//!
//! Never falls back: a token with one thing wrong is no token. Invariant: an [`Identity`] comes only out of a signature by
//! a key that the provider publishes over TLS, for this client, this consent and this hour. Next: `service/finish_consent`
//! compares it with the mailbox that was expected.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::clock::Time;
use crate::domain::provider::{Identity, IdentityRule, SubjectRule};
use crate::domain::refusal::Refused;
use crate::domain::secret::Secret;
use crate::providers::ProviderClient;
use crate::providers::keys::Key;
use crate::providers::resolved::Resolved;

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);
/// How old a token of a consent may be: the consent itself lives ten minutes.
const OLDEST: Duration = Duration::from_secs(3600);
const LONGEST: usize = 16 * 1024;
const TENANT: &str = "{tenantid}";

/// What is wrong with an ID token. Never says what stood in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Not a signed JWT, or too long.
    #[error("it is not a signed JWT")]
    Malformed,
    /// Not one of RS256, PS256, ES256, EdDSA.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// It demands an extension (`crit`) we do not know.
    #[error("it demands an extension that is not supported")]
    Critical,
    /// No published key fits it.
    #[error("no published key fits it")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// `iss` is not the provider's issuer, or the key belongs to another one.
    #[error("it comes from another issuer")]
    Issuer,
    /// `tid` is not the tenant that the authority allows.
    #[error("it comes from a tenant that is not allowed")]
    Tenant,
    /// `aud` or `azp` is not this client.
    #[error("it is for another client")]
    Audience,
    /// `exp` is missing or past.
    #[error("it has expired")]
    Expired,
    /// `iat` or `nbf` is missing, in the future, or `iat` is too long ago.
    #[error("its time of issue makes no sense")]
    IssueTime,
    /// `nonce` is missing or not the one of this consent.
    #[error("it belongs to another consent")]
    Nonce,
    /// A claim that makes the subject is missing.
    #[error("it does not name its subject")]
    Subject,
    /// The provider publishes no keys, or the preset has no issuer: nothing can be checked.
    #[error("the provider publishes no keys to check it with")]
    NoKeys,
    /// The keys could not be had.
    #[error("the provider's keys could not be read: {0}")]
    Keys(Refused),
}

impl ProviderClient {
    /// Checks an ID token of the token endpoint against this provider and consent.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub async fn verify_id_token(
        &self,
        provider: &Resolved,
        token: &Secret,
        nonce: &str,
    ) -> Result<Identity, IdTokenError> {
        let (algorithm, kid) = header(token)?;
        let at = provider.urls.jwks.as_ref().ok_or(IdTokenError::NoKeys)?;
        let wanted = (algorithm, kid.as_deref());
        let keys = self
            .keys
            .find(&self.wire, &self.clock, at, wanted)
            .await
            .map_err(IdTokenError::Keys)?;
        check(provider, token, (algorithm, &keys), nonce, self.clock.now())
    }
}

/// Everything after the keys are there. Pure.
fn check(
    provider: &Resolved,
    token: &Secret,
    (algorithm, keys): (Algorithm, &[Key]),
    nonce: &str,
    now: Time,
) -> Result<Identity, IdTokenError> {
    if keys.is_empty() {
        return Err(IdTokenError::UnknownKey);
    }
    let (claims, key) = keys
        .iter()
        .find_map(|key| Some((verified(token, algorithm, key)?, key)))
        .ok_or(IdTokenError::Signature)?;
    check_issuer(provider, &claims, key)?;
    check_audience(&provider.client_id, &claims)?;
    check_times(&claims, now)?;
    if nonce.is_empty() || text(&claims, "nonce") != Some(nonce) {
        return Err(IdTokenError::Nonce);
    }
    identity(&provider.identity, &claims).ok_or(IdTokenError::Subject)
}

fn header(token: &Secret) -> Result<(Algorithm, Option<String>), IdTokenError> {
    if token.len() > LONGEST || token.expose().split('.').count() != 3 {
        return Err(IdTokenError::Malformed);
    }
    // An algorithm the crate has no name for (`none`) fails here already.
    let header = decode_header(token.expose()).map_err(|_| IdTokenError::Algorithm)?;
    if header.crit.is_some() {
        return Err(IdTokenError::Critical);
    }
    match header.alg {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 | Algorithm::EdDSA => {
            Ok((header.alg, header.kid))
        }
        _ => Err(IdTokenError::Algorithm),
    }
}

/// The claims, if this key signed them. The crate checks the signature only; the claims are ours to check.
fn verified(token: &Secret, algorithm: Algorithm, key: &Key) -> Option<Map<String, Value>> {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(&key.jwk).ok()?;
    decode(token.expose(), &key, &rules).ok().map(|token| token.claims)
}

fn check_issuer(
    provider: &Resolved,
    claims: &Map<String, Value>,
    key: &Key,
) -> Result<(), IdTokenError> {
    let template = provider.issuer.as_deref().ok_or(IdTokenError::NoKeys)?;
    let tid = text(claims, "tid");
    let fill = |template: &str| match tid {
        Some(tid) if template.contains(TENANT) => template.replace(TENANT, tid),
        _ => template.to_owned(),
    };
    if template.contains(TENANT) {
        // The tenant goes into the issuer, so it must be nothing but a tenant.
        let tid = tid.filter(|tid| tid.len() == 36 && uuid::Uuid::try_parse(tid).is_ok());
        check_tenant(provider, tid.ok_or(IdTokenError::Tenant)?)?;
    }
    let expected = fill(template);
    let key_fits = key.issuer.as_deref().is_none_or(|issuer| fill(issuer) == expected);
    if text(claims, "iss") == Some(expected.as_str()) && key_fits {
        return Ok(());
    }
    Err(IdTokenError::Issuer)
}

/// `common` takes everyone, `organizations` everyone but personal accounts, `consumers` those only, a tenant itself.
/// A domain cannot be compared with a tenant id; the issuer's own check must do there.
fn check_tenant(provider: &Resolved, tid: &str) -> Result<(), IdTokenError> {
    let personal = provider.personal_tenant.as_deref() == Some(tid);
    let allowed = match provider.authority.as_deref() {
        None | Some("common") => true,
        Some("organizations") => !personal,
        Some("consumers") => personal,
        Some(domain) if domain.contains('.') => !personal,
        Some(tenant) => tenant.eq_ignore_ascii_case(tid),
    };
    if allowed { Ok(()) } else { Err(IdTokenError::Tenant) }
}

fn check_audience(client_id: &str, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
    let azp = claims.get("azp").map(|azp| azp.as_str() == Some(client_id));
    let fits = match claims.get("aud") {
        Some(Value::String(aud)) => aud == client_id && azp != Some(false),
        Some(Value::Array(all)) if all.len() == 1 => {
            all[0].as_str() == Some(client_id) && azp != Some(false)
        }
        // Several audiences: the token must say that it was made for us.
        Some(Value::Array(all)) => {
            all.iter().any(|aud| aud.as_str() == Some(client_id)) && azp == Some(true)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(IdTokenError::Audience) }
}

fn check_times(claims: &Map<String, Value>, now: Time) -> Result<(), IdTokenError> {
    let expires = moment(claims, "exp").ok_or(IdTokenError::Expired)?;
    if now >= expires.after(SKEW) {
        return Err(IdTokenError::Expired);
    }
    let issued = moment(claims, "iat").ok_or(IdTokenError::IssueTime)?;
    let not_before = moment(claims, "nbf").unwrap_or(issued);
    let future = now.after(SKEW);
    if issued > future || not_before > future || issued < now.before(OLDEST) || issued > expires {
        return Err(IdTokenError::IssueTime);
    }
    Ok(())
}

/// Seconds since the epoch, whole or not (RFC 7519 section 2).
pub(super) fn moment(claims: &Map<String, Value>, name: &str) -> Option<Time> {
    let seconds = claims.get(name)?.as_f64().filter(|seconds| (0.0..1e12).contains(seconds))?;
    let span = Duration::try_from_secs_f64(seconds).ok()?;
    Some(Time::from_millis(0).after(span))
}

/// The identity that claims give by the preset's rule. Of claims that nobody signed (userinfo) this is as good as the
/// TLS connection they came over, and only for a provider without ID tokens.
pub fn identity(rule: &IdentityRule, claims: &Map<String, Value>) -> Option<Identity> {
    let (subject, tenant) = match rule.subject {
        SubjectRule::Sub => (text(claims, "sub")?, None),
        SubjectRule::TidOid => (text(claims, "oid")?, Some(text(claims, "tid")?)),
    };
    Some(Identity {
        subject: Some(subject)
            .filter(|subject| !subject.is_empty() && subject.len() <= 255)?
            .to_owned(),
        tenant: tenant.map(str::to_owned),
        mailbox: mailbox(rule, claims),
        email_verified: is_true(claims.get("email_verified")),
    })
}

/// The mailbox address that claims (of an ID token or of userinfo) name, by the preset's rule.
pub fn mailbox(rule: &IdentityRule, claims: &Map<String, Value>) -> Option<String> {
    let texts = rule.mailbox.iter().filter_map(|name| text(claims, name));
    let address = |text: &&str| {
        text.len() <= 320 && text.contains('@') && text.bytes().all(|b| b > 0x20 && b != 0x7f)
    };
    texts.into_iter().find(address).map(str::to_owned)
}

/// Some providers write it as text.
fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_str) == Some("true")
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
