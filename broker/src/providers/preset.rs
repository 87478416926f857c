//! Presets: what is known about each provider, as data files built into the program.
//!
//! Never decides for an app; that is [`resolve`](super::resolve). Invariant: a preset that does not parse stops the
//! broker at start, and no line of code names a provider. Next: [`Preset::resolve`] joins a preset and an app's settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::domain::app::ClientAuthMethod;
use crate::domain::mail::{MailProtocol, SaslMechanism, TlsMode};
use crate::domain::provider::{
    AccessTokenHints, IdentityRule, InitialResponse, IssRule, Pkce, RefreshRule, Target,
};
use crate::domain::refusal::ErrorTables;

/// The built-in files. A new provider is a new line here and its file; one that others extend stands before them.
const FILES: [(&str, &str); 11] = [
    ("google.toml", include_str!("../../presets/google.toml")),
    ("microsoft.toml", include_str!("../../presets/microsoft.toml")),
    ("microsoft-gcc-high.toml", include_str!("../../presets/microsoft-gcc-high.toml")),
    ("yahoo.toml", include_str!("../../presets/yahoo.toml")),
    ("aol.toml", include_str!("../../presets/aol.toml")),
    ("fastmail.toml", include_str!("../../presets/fastmail.toml")),
    ("mailru.toml", include_str!("../../presets/mailru.toml")),
    ("yandex.toml", include_str!("../../presets/yandex.toml")),
    ("zoho.toml", include_str!("../../presets/zoho.toml")),
    ("generic-oidc.toml", include_str!("../../presets/generic-oidc.toml")),
    ("custom.toml", include_str!("../../presets/custom.toml")),
];

const COMMON_ERRORS: (&str, &str) = ("errors.toml", include_str!("../../presets/errors.toml"));

/// One provider, before any app is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The name an app row uses.
    pub name: String,
    /// For people.
    pub title: String,
    /// Mail domains that belong to it, to suggest it.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The issuer; `{tenantid}` stands for the `tid` claim of the token, `{tenant}` for the authority.
    pub issuer: Option<String>,
    /// The app row must give the issuer.
    #[serde(default)]
    pub needs_issuer: bool,
    /// What to do about the `iss` parameter.
    pub iss_parameter: IssRule,
    /// Client authentication, best first.
    pub client_auth: Vec<ClientAuthMethod>,
    /// The code challenge.
    pub pkce: Pkce,
    /// Between scopes.
    pub scope_separator: String,
    /// Tenants, where the provider has them.
    pub authority: Option<AuthorityRule>,
    /// Addresses; absent ones must come from the app row.
    #[serde(default)]
    pub endpoints: EndpointTemplates,
    /// The consent request.
    pub authorize: AuthorizeRule,
    /// Refreshing.
    pub refresh: RefreshRule,
    /// Access tokens.
    pub access_token: AccessTokenHints,
    /// Identity.
    pub identity: IdentityRule,
    /// Kinds of access token, by name.
    pub targets: BTreeMap<String, Target>,
    /// Mail servers.
    #[serde(default)]
    pub mail: BTreeMap<MailProtocol, PresetServer>,
    /// What refusals mean.
    #[serde(default, deserialize_with = "shared")]
    pub errors: Arc<ErrorTables>,
}

/// Addresses of a provider's endpoints; `{tenant}` stands for the authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointTemplates {
    /// RFC 6749 authorization endpoint.
    pub authorization: String,
    /// RFC 6749 token endpoint.
    pub token: String,
    /// RFC 7009 revocation; empty where there is none, as below.
    pub revocation: String,
    /// OpenID Connect userinfo.
    pub userinfo: String,
    /// JSON Web Key Set.
    pub jwks: String,
    /// RFC 8628 device authorization.
    pub device: String,
}

/// A mail server as a preset describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetServer {
    /// Host name.
    pub host: String,
    /// The host for personal accounts, where that is another one.
    pub personal_host: Option<String>,
    /// TCP port.
    pub port: u16,
    /// TLS.
    pub tls: TlsMode,
    /// Mechanisms, best first.
    pub sasl: Vec<SaslMechanism>,
    /// First SASL message with the command, or after it.
    #[serde(default)]
    pub initial_response: InitialResponse,
    /// `OK` proves nothing here.
    #[serde(default)]
    pub probe_after_login: bool,
}

/// Tenants or data centres of a provider: what may stand for `{tenant}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRule {
    /// The authority of an app that names none.
    pub default: String,
    /// Names that may stand there, in lower case.
    pub names: Vec<String>,
    /// Tenant ids and domains may stand there too.
    #[serde(default)]
    pub tenants: bool,
    /// The tenant of personal accounts, whose authority is `consumers`; absent where there are none.
    pub personal_tenant: Option<String>,
}

/// The consent request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizeRule {
    /// Scopes beside those of the targets.
    pub base_scopes: Vec<String>,
    /// Further parameters.
    pub params: BTreeMap<String, String>,
    /// Leave `prompt` out where a login hint is sent.
    pub login_hint_replaces_prompt: bool,
}

/// A built-in file is broken: the program's own fault.
#[derive(Debug, thiserror::Error)]
#[error("preset file {file}: {why}")]
pub struct PresetBroken {
    file: &'static str,
    why: String,
}

/// No such preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset {name:?}; known presets: {known}")]
pub struct UnknownPreset {
    /// What was asked for, at most 64 characters of it.
    pub name: String,
    /// All names, separated by commas.
    pub known: String,
}

/// All presets, by name. Clones share them.
#[derive(Clone, Debug)]
pub struct Presets(Arc<BTreeMap<String, Preset>>);

impl Preset {
    /// Whether its clients have a secret unless their operator says otherwise.
    pub fn wants_secret(&self) -> bool {
        self.client_auth.first() != Some(&ClientAuthMethod::None)
    }

    /// Whether its endpoints are known or discovered, and not the operator's to type.
    pub fn fixes_endpoints(&self) -> bool {
        self.needs_issuer || !self.endpoints.token.is_empty()
    }
}

impl Presets {
    /// Parses the built-in files.
    ///
    /// # Errors
    /// A file is broken, which a test of this room would have found.
    pub fn embedded() -> Result<Self, PresetBroken> {
        Self::from_files(&FILES)
    }

    fn from_files(files: &[(&'static str, &'static str)]) -> Result<Self, PresetBroken> {
        let common: ErrorTables = parse(COMMON_ERRORS)?;
        let (mut presets, mut tables) = (BTreeMap::new(), BTreeMap::new());
        for (file, text) in files {
            let broken = |why: String| PresetBroken { file, why };
            let table = extended(parse((file, text))?, &tables).map_err(broken)?;
            let preset = Preset::deserialize(table.clone());
            let mut preset = preset.map_err(|error| broken(error.to_string()))?;
            preset.errors = Arc::new(preset.errors.over(&common));
            tables.insert(preset.name.clone(), table);
            presets.insert(preset.name.clone(), preset);
        }
        Ok(Self(Arc::new(presets)))
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn find(&self, name: &str) -> Result<&Preset, UnknownPreset> {
        self.0.get(name).ok_or_else(|| UnknownPreset {
            name: name.chars().take(64).collect(),
            known: self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Preset> {
        self.0.values()
    }

    /// The preset to suggest for a mailbox address, if its domain belongs to one.
    pub fn for_mailbox(&self, address: &str) -> Option<&Preset> {
        let domain = address.rsplit_once('@')?.1;
        self.iter().find(|preset| preset.domains.iter().any(|own| own.eq_ignore_ascii_case(domain)))
    }
}

/// A file with `extends = "other"`: what it does not say is as in the other one. It says a table whole or not at all.
fn extended(
    mut table: toml::Table,
    earlier: &BTreeMap<String, toml::Table>,
) -> Result<toml::Table, String> {
    let Some(parent) = table.remove("extends") else { return Ok(table) };
    let parent = parent.as_str().and_then(|name| earlier.get(name));
    let mut whole = parent.cloned().ok_or("it extends no preset that stands before it")?;
    // Mail domains are suggested once.
    whole.remove("domains");
    whole.extend(table);
    Ok(whole)
}

fn parse<T: serde::de::DeserializeOwned>(
    (file, text): (&'static str, &str),
) -> Result<T, PresetBroken> {
    toml::from_str(text).map_err(|error| PresetBroken { file, why: error.to_string() })
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<ErrorTables>, D::Error> {
    ErrorTables::deserialize(deserializer).map(Arc::new)
}

#[cfg(test)]
#[path = "preset_facts.rs"]
mod facts;

#[cfg(test)]
#[path = "refusal_facts.rs"]
mod refusals;
