//! Providers' key sets, cached.
//!
//! Never keeps a symmetric key and never asks more often than once a minute because a token named an unknown key, so a
//! forged `kid` cannot make us hammer a provider. Invariant: a set is used for at least ten minutes and at most a day.
//! Next: [`id_token`](super::id_token) checks signatures with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use serde_json::{Map, Value};
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use crate::clock::{Clock, Time};
use crate::domain::refusal::{ErrorTables, Refused};
use crate::providers::answer::{Reading, no_answer};
use crate::providers::request::get;
use crate::providers::wire::Wire;

pub(super) const LEAST_LIFE: Duration = Duration::from_secs(600);
pub(super) const MOST_LIFE: Duration = Duration::from_secs(86_400);
pub(super) const USUAL_LIFE: Duration = Duration::from_secs(3600);
const BETWEEN_SURPRISES: Duration = Duration::from_secs(60);
const MOST_SETS: usize = 256;
const MOST_KEYS: usize = 64;

/// A verification key and, at Microsoft, the issuer it is bound to.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) jwk: Jwk,
    pub(super) issuer: Option<String>,
}

#[derive(Default)]
struct Slot {
    keys: Vec<Key>,
    fetched: Option<Time>,
    asked: Option<Time>,
    life: Duration,
}

/// Key sets by their address.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<Url, Arc<AsyncMutex<Slot>>>>);

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyCache")
    }
}

impl KeyCache {
    /// The keys that may have signed a token with this header. Callers of one set wait for one request.
    pub(super) async fn find(
        &self,
        wire: &Wire,
        clock: &Clock,
        at: &Url,
        wanted: (Algorithm, Option<&str>),
    ) -> Result<Vec<Key>, Refused> {
        let slot = self.slot(at);
        let mut slot = slot.lock().await;
        let now = clock.now();
        let age = |since: Option<Time>| since.map_or(Duration::MAX, |since| since.until(now));
        let mut failed = None;
        let stale = age(slot.fetched) >= slot.life;
        let surprised = stale || matching(&slot.keys, wanted).is_empty();
        let may_ask = slot.fetched.is_none() || age(slot.asked) >= BETWEEN_SURPRISES;
        if surprised && may_ask {
            slot.asked = Some(now);
            match fetch(wire, at).await {
                Ok((keys, life)) => {
                    *slot = Slot { keys, fetched: Some(now), asked: Some(now), life }
                }
                Err(refused) => failed = Some(refused),
            }
        }
        // A provider that is down does not make its keys wrong, for a day.
        let usable = age(slot.fetched) < MOST_LIFE;
        match failed {
            Some(refused) if !usable => Err(refused),
            _ if usable => Ok(matching(&slot.keys, wanted)),
            _ => Ok(Vec::new()),
        }
    }

    fn slot(&self, at: &Url) -> Arc<AsyncMutex<Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_SETS && !slots.contains_key(at) {
            slots.clear();
        }
        Arc::clone(slots.entry(at.clone()).or_default())
    }
}

async fn fetch(wire: &Wire, at: &Url) -> Result<(Vec<Key>, Duration), Refused> {
    let tables = ErrorTables::default();
    let reading = Reading::of(&tables, &[]);
    let answer = wire.send(get(at, None).map_err(no_answer)?).await;
    let life = answer.as_ref().ok().and_then(|answer| answer.max_age).unwrap_or(USUAL_LIFE);
    let document = reading.document(answer)?;
    Ok((read(&document), life.clamp(LEAST_LIFE, MOST_LIFE)))
}

/// The keys we can use; one that we cannot read does not spoil the others.
pub(super) fn read(document: &Map<String, Value>) -> Vec<Key> {
    let keys = document.get("keys").and_then(Value::as_array).into_iter().flatten().take(MOST_KEYS);
    keys.filter_map(|value| {
        let issuer = value.get("issuer").and_then(Value::as_str).map(str::to_owned);
        Some(Key { jwk: serde_json::from_value(value.clone()).ok()?, issuer })
    })
    .collect()
}

/// With a `kid` the keys of that name; without one, the only key that fits, or none.
pub(super) fn matching(keys: &[Key], (algorithm, kid): (Algorithm, Option<&str>)) -> Vec<Key> {
    let fits = |key: &&Key| fits(&key.jwk, algorithm);
    match kid {
        Some(kid) => {
            let named = keys.iter().filter(|key| key.jwk.common.key_id.as_deref() == Some(kid));
            named.filter(fits).cloned().collect()
        }
        None => {
            let all: Vec<Key> = keys.iter().filter(fits).cloned().collect();
            if all.len() == 1 { all } else { Vec::new() }
        }
    }
}

/// Whether a key is made for signatures of this algorithm: kind, curve, `use` and `alg`.
fn fits(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match (&jwk.algorithm, algorithm) {
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => {
            key.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => {
            key.curve == EllipticCurve::Ed25519
        }
        _ => false,
    };
    let usage = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let said =
        jwk.common.key_algorithm.is_none_or(|said| said.to_string() == format!("{algorithm:?}"));
    kind && usage && said
}
