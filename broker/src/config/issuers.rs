//! `[[callers.issuer]]`: who may say who calls.
//!
//! Never asks an issuer. Invariant: an issuer that leaves here has an audience, asymmetric algorithms only, and one place
//! for its keys. Next: `providers/workload.rs`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::Problem;
use super::file::Checker;
use crate::providers::address::AddressRule;
use crate::providers::workload::{IssuerSettings, KeyPlace, SigningAlgorithm};

/// The longest that clocks may differ.
const MOST_LEEWAY: u64 = 300;

/// The oldest that a token may be allowed to be.
const MOST_AGE: u64 = 30 * 24 * 60 * 60;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callers {
    #[serde(default)]
    issuer: Vec<Issuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    url: Spanned<String>,
    audiences: Spanned<Vec<String>>,
    jwks: Option<Spanned<String>>,
    keys_file: Option<Spanned<PathBuf>>,
    ca_file: Option<PathBuf>,
    algorithms: Option<Spanned<Vec<String>>>,
    leeway_seconds: Option<Spanned<u64>>,
    max_age_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    private_network: bool,
}

impl Checker<'_> {
    pub(super) fn issuers(
        &self,
        raw: Callers,
        insecure_loopback: bool,
    ) -> Result<Vec<IssuerSettings>, Problem> {
        let mut issuers: Vec<IssuerSettings> = Vec::with_capacity(raw.issuer.len());
        for one in raw.issuer {
            let span = one.url.span();
            let issuer = self.issuer(one, insecure_loopback)?;
            if issuers.iter().any(|other| other.issuer == issuer.issuer) {
                let what = "callers.issuer.url: named twice; give one all its audiences";
                return Err(self.wrong(&span, what));
            }
            issuers.push(issuer);
        }
        if issuers.len() > 64 {
            return Err(Problem::missing(self.path_of_file(), "callers.issuer: use at most 64"));
        }
        Ok(issuers)
    }

    fn issuer(&self, raw: Issuer, insecure_loopback: bool) -> Result<IssuerSettings, Problem> {
        let addresses = AddressRule {
            allow_insecure_loopback: insecure_loopback,
            allow_private: raw.private_network || insecure_loopback,
        };
        let keys = self.keys_of(&raw, addresses)?;
        let audiences = raw.audiences.get_ref();
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            let what = "callers.issuer.audiences: name what `aud` of its tokens for this broker is; a token for \
                        somebody else must not work here";
            return Err(self.wrong(&raw.audiences.span(), what));
        }
        let leeway = raw.leeway_seconds.as_ref();
        let max_age = raw.max_age_seconds.as_ref();
        Ok(IssuerSettings {
            issuer: raw.url.get_ref().clone(),
            audiences: audiences.clone(),
            keys,
            ca_file: raw.ca_file.as_deref().map(|path| self.path(path)),
            algorithms: self.algorithms(raw.algorithms.as_ref())?,
            leeway: self.seconds("callers.issuer.leeway_seconds", leeway, 30, 0..=MOST_LEEWAY)?,
            max_age: self.seconds(
                "callers.issuer.max_age_seconds",
                max_age,
                86_400,
                60..=MOST_AGE,
            )?,
            addresses,
        })
    }

    fn keys_of(&self, raw: &Issuer, addresses: AddressRule) -> Result<KeyPlace, Problem> {
        let callable = |text: &str| {
            let url = Url::parse(text).ok()?;
            addresses.check(&url).ok().map(|()| url)
        };
        match (&raw.jwks, &raw.keys_file) {
            (Some(jwks), Some(_)) => {
                let what = "callers.issuer.jwks: say either jwks or keys_file";
                Err(self.wrong(&jwks.span(), what))
            }
            (None, Some(file)) => {
                let path = self.path(file.get_ref());
                let readable = std::fs::read(&path).map_err(|error| error.to_string());
                let set = readable.and_then(|text| {
                    let set: Result<serde_json::Value, _> = serde_json::from_slice(&text);
                    let keys = set.is_ok_and(|set| set["keys"].is_array());
                    keys.then_some(()).ok_or_else(|| "it is not a JSON Web Key Set".to_owned())
                });
                set.map(|()| KeyPlace::File(path.clone())).map_err(|why| {
                    let what = format!(
                        "callers.issuer.keys_file: {}: {why}. Name a file such as {{\"keys\": [..]}}",
                        path.display()
                    );
                    self.wrong(&file.span(), &what)
                })
            }
            (Some(jwks), None) => callable(jwks.get_ref()).map(KeyPlace::Url).ok_or_else(|| {
                let what = "callers.issuer.jwks: use an https URL; private_network = true if it is inside the house";
                self.wrong(&jwks.span(), what)
            }),
            (None, None) => {
                let url = callable(raw.url.get_ref()).filter(|url| url.query().is_none());
                url.map(|_| KeyPlace::Discovered).ok_or_else(|| {
                    let what = "callers.issuer.url: keys are found at an https URL only; name jwks or keys_file, or say \
                                private_network = true if it is inside the house";
                    self.wrong(&raw.url.span(), what)
                })
            }
        }
    }

    fn algorithms(
        &self,
        raw: Option<&Spanned<Vec<String>>>,
    ) -> Result<Vec<SigningAlgorithm>, Problem> {
        let Some(given) = raw else { return Ok(SigningAlgorithm::usual().to_vec()) };
        let known = given.get_ref().iter().map(|name| SigningAlgorithm::parse(name));
        let known = known.collect::<Option<Vec<_>>>().filter(|known| !known.is_empty());
        known.ok_or_else(|| {
            let what = format!(
                "callers.issuer.algorithms: use some of {}; algorithms with a shared secret are never accepted",
                SigningAlgorithm::NAMES.join(", ")
            );
            self.wrong(&given.span(), &what)
        })
    }

    fn seconds(
        &self,
        field: &str,
        raw: Option<&Spanned<u64>>,
        usual: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Duration, Problem> {
        match raw {
            None => Ok(Duration::from_secs(usual)),
            Some(given) if range.contains(given.get_ref()) => {
                Ok(Duration::from_secs(*given.get_ref()))
            }
            Some(given) => {
                let what = format!("{field}: use {} to {}", range.start(), range.end());
                Err(self.wrong(&given.span(), &what))
            }
        }
    }
}
