//! The key set of one issuer of workload tokens: fetched, kept, asked for again when a token names a key that is not in it.
//!
//! Never makes a call wait whose key is at hand, and never asks more often than the cool-down allows, however many tokens
//! with invented keys arrive. Invariant: one request at a time; a set is used for a day at most. Next: [`workload`] checks
//! signatures with it.
//!
//! [`workload`]: super::workload

use std::path::{Path, PathBuf};
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use crate::clock::{Clock, Time};
use crate::domain::refusal::ErrorTables;
use crate::providers::answer::{Reading, no_answer};
use crate::providers::keys::{Key, LEAST_LIFE, MOST_LIFE, USUAL_LIFE, matching, read};
use crate::providers::request::get;
use crate::providers::wire::Wire;

/// Between two requests for keys.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// How soon a file is looked at again.
const FILE_LIFE: Duration = Duration::from_secs(30);

/// The largest key file.
const FILE_CAP: u64 = 256 * 1024;

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// The issuer's metadata say it (OpenID Connect Discovery section 4).
    Discovered,
    /// At this address.
    Url(Url),
    /// In this file, as a JSON Web Key Set.
    File(PathBuf),
}

/// The keys cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysAway(pub(super) String);

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    issuer: String,
    place: KeyPlace,
    wire: Wire,
    clock: Clock,
    known: ArcSwap<Known>,
    /// Held by who asks; when that was the last time.
    asking: AsyncMutex<Option<Time>>,
}

#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    fetched: Option<Time>,
    life: Duration,
}

impl Known {
    fn age(&self, now: Time) -> Duration {
        self.fetched.map_or(Duration::MAX, |fetched| fetched.until(now))
    }

    fn fitting(&self, wanted: (Algorithm, Option<&str>), now: Time) -> Vec<Key> {
        if self.age(now) < MOST_LIFE { matching(&self.keys, wanted) } else { Vec::new() }
    }
}

impl IssuerKeys {
    pub(super) fn new(issuer: String, place: KeyPlace, wire: Wire, clock: Clock) -> Self {
        let (known, asking) = (ArcSwap::default(), AsyncMutex::default());
        Self { issuer, place, wire, clock, known, asking }
    }

    /// The keys that may have signed a token with this header; none if the issuer has no such key.
    ///
    /// # Errors
    /// [`KeysAway`] if no set of the last day is at hand.
    pub(super) async fn find(
        &self,
        wanted: (Algorithm, Option<&str>),
    ) -> Result<Vec<Key>, KeysAway> {
        let now = self.clock.now();
        let known = self.known.load_full();
        let found = known.fitting(wanted, now);
        if !found.is_empty() {
            if known.age(now) < known.life {
                return Ok(found);
            }
            // Old but good: one call asks, the others do not wait for it.
            let Ok(mut asked) = self.asking.try_lock() else { return Ok(found) };
            let _ = self.renew(&mut asked, now).await;
            return Ok(self.known.load().fitting(wanted, now));
        }
        let mut asked = self.asking.lock().await;
        let found = self.known.load().fitting(wanted, now);
        if !found.is_empty() {
            return Ok(found);
        }
        let renewed = self.renew(&mut asked, now).await;
        let known = self.known.load();
        match renewed {
            Err(away) if known.age(now) >= MOST_LIFE => Err(away),
            _ => Ok(known.fitting(wanted, now)),
        }
    }

    async fn renew(&self, asked: &mut Option<Time>, now: Time) -> Result<(), KeysAway> {
        if asked.is_some_and(|asked| asked.until(now) < COOL_DOWN && asked <= now) {
            return Err(KeysAway("asked a moment ago".to_owned()));
        }
        *asked = Some(now);
        match self.fetch().await {
            Ok((keys, life)) => {
                self.known.store(Known { keys, fetched: Some(now), life }.into());
                Ok(())
            }
            Err(away) => {
                tracing::warn!(issuer = %self.issuer, %away, "the keys of an issuer cannot be had");
                Err(away)
            }
        }
    }

    async fn fetch(&self) -> Result<(Vec<Key>, Duration), KeysAway> {
        match &self.place {
            KeyPlace::File(file) => Ok((read(&document_in(file).await?), FILE_LIFE)),
            KeyPlace::Url(at) => self.fetch_at(at).await,
            KeyPlace::Discovered => self.fetch_at(&self.discover().await?).await,
        }
    }

    async fn fetch_at(&self, at: &Url) -> Result<(Vec<Key>, Duration), KeysAway> {
        let (document, life) = self.ask(at).await?;
        Ok((read(&document), life))
    }

    /// Where the issuer says that its keys are. Metadata of another issuer are refused.
    async fn discover(&self) -> Result<Url, KeysAway> {
        let at = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let at = Url::parse(&at).map_err(|_| KeysAway("the issuer is not a URL".to_owned()))?;
        let (metadata, _) = self.ask(&at).await?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        if text("issuer") != Some(self.issuer.as_str()) {
            return Err(KeysAway("the metadata name another issuer".to_owned()));
        }
        let jwks = text("jwks_uri").and_then(|text| Url::parse(text).ok());
        jwks.ok_or_else(|| KeysAway("the metadata have no jwks_uri that is a URL".to_owned()))
    }

    async fn ask(&self, at: &Url) -> Result<(Map<String, Value>, Duration), KeysAway> {
        let away = |what: &dyn std::fmt::Display| KeysAway(what.to_string());
        let tables = ErrorTables::default();
        let reading = Reading::of(&tables, &[]);
        let request = get(at, None).map_err(|error| away(&no_answer(error)))?;
        let answer = self.wire.send(request).await;
        let life = answer.as_ref().ok().and_then(|answer| answer.max_age).unwrap_or(USUAL_LIFE);
        let document = reading.document(answer).map_err(|refused| away(&refused))?;
        Ok((document, life.clamp(LEAST_LIFE, MOST_LIFE)))
    }
}

async fn document_in(file: &Path) -> Result<Map<String, Value>, KeysAway> {
    let away = |what: String| KeysAway(format!("{}: {what}", file.display()));
    let opened = tokio::fs::File::open(file).await.map_err(|error| away(error.to_string()))?;
    let mut text = Vec::new();
    let read = opened.take(FILE_CAP).read_to_end(&mut text).await;
    read.map_err(|error| away(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|_| away("it is not a JSON Web Key Set".to_owned()))
}
