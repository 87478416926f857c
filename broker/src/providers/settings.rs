//! What an app row says about its provider.
//!
//! Never holds a secret: client secrets stand sealed in their own rows. Invariant: it can be stored and read back as it
//! is. Next: [`Preset::resolve`](super::Preset::resolve) joins it with its preset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::provider::{ClientAuthMethod, Endpoints, MailHosts, Rotation, ScopeChanges};
use crate::providers::address::AddressRefused;

/// What an app row says beside its preset. Everything but preset and client id may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppSettings {
    /// Name of the preset.
    pub preset: String,
    /// Microsoft: `consumers`, `organizations`, `common`, a tenant's GUID or domain.
    pub authority: Option<String>,
    /// The client id.
    pub client_id: String,
    /// The issuer, where the preset has none.
    pub issuer: Option<String>,
    /// Endpoints that win over the preset's; discovery's finds are pinned here.
    pub endpoints: Endpoints,
    /// The metadata promised the `iss` parameter (RFC 9207).
    pub iss_advertised: bool,
    /// The only client authentication to use.
    pub client_auth: Option<ClientAuthMethod>,
    /// What becomes of a used refresh token, where the operator knows better.
    pub rotation: Option<Rotation>,
    /// Parameters of the consent request that win over the preset's; an empty value leaves the parameter out.
    pub authorize_params: BTreeMap<String, String>,
    /// Scopes.
    pub scopes: ScopeChanges,
    /// Mail servers that win over the preset's.
    pub mail: MailHosts,
}

/// The app row does not make a provider; the message names the field and the remedy, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No client id.
    #[error("client_id is empty: give the id that the provider's console shows for the app")]
    NoClientId,
    /// An endpoint that neither preset nor app names.
    #[error("endpoints.{field} is missing: preset {preset} needs it from the app")]
    NoEndpoint {
        /// The preset.
        preset: String,
        /// The field.
        field: &'static str,
    },
    /// An endpoint that is not a URL.
    #[error("endpoints.{field} is not a URL")]
    NotUrl {
        /// The field.
        field: &'static str,
    },
    /// An endpoint that the address rule refuses.
    #[error("endpoints.{field}: {why}")]
    Refused {
        /// The field.
        field: &'static str,
        /// Why.
        why: AddressRefused,
    },
    /// The preset has no issuer and the app gives none.
    #[error("issuer is missing: preset {preset} needs it from the app")]
    NoIssuer {
        /// The preset.
        preset: String,
    },
    /// A parameter that is ours to set.
    #[error("authorize_params must not hold {name}: the broker sets it")]
    ReservedParam {
        /// Its name.
        name: &'static str,
    },
    /// Not an authority, or the preset has none.
    #[error(
        "authority must be consumers, organizations, common, a tenant id or a domain, and only presets with tenants take one"
    )]
    Authority,
}

/// Parameters of the consent request (RFC 6749, RFC 7636, OpenID Connect Core) that no app row may set: they carry the
/// guards of a consent.
const RESERVED: [&str; 10] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
];

impl AppSettings {
    /// These settings for one account whose authority was pinned after sign-in.
    pub fn pinned_to(&self, authority: String) -> Self {
        Self { authority: Some(authority), ..self.clone() }
    }

    /// The preset's parameters with this app's changes.
    pub(super) fn params_over(
        &self,
        own: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, SettingsError> {
        let reserved = RESERVED.into_iter().find(|name| self.authorize_params.contains_key(*name));
        if let Some(name) = reserved {
            return Err(SettingsError::ReservedParam { name });
        }
        let mut params = own.clone();
        params.extend(self.authorize_params.clone());
        params.retain(|_, value| !value.is_empty());
        Ok(params)
    }
}

/// A word of the list, a GUID or a domain: nothing that could change the path it is put into.
pub(super) fn is_authority(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let word = ["common", "organizations", "consumers"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text));
    let guid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    let domain = text.len() <= 253 && text.contains('.') && text.split('.').all(label);
    word || guid || domain
}
