//! An OAuth application registered at a provider, as the operator told us.
//!
//! Never holds a client secret in plain (it is a [`Sealed`] column). Invariant: what decides where tokens and mails go
//! (endpoints, hosts, preset) is covered by the row's keyed hash. Next: `providers` resolves it against its preset.

use serde::Deserialize;

use crate::clock::Time;
use crate::domain::guarded::{Canonical, Rights};
use crate::domain::ids::{AppId, AppSecretId, ProjectId, ResourceId};
use crate::domain::mail::MailHost;
use crate::domain::secret::Sealed;

/// An OAuth application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its row.
    pub id: AppId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its id for people, unique in the project.
    pub name: ResourceId,
    /// For people.
    pub display_name: String,
    /// The preset's name.
    pub preset: String,
    /// Microsoft's authority, or the issuer of a discovered provider; may be empty.
    pub authority: String,
    /// The client id at the provider.
    pub client_id: String,
    /// How the client authenticates; `None` means as the preset prefers.
    pub client_auth: Option<ClientAuthMethod>,
    /// Endpoints pinned at registration; empty fields mean the preset's.
    pub endpoints: Endpoints,
    /// Scopes instead of the preset's base; empty means the preset's.
    pub base_scopes: Vec<String>,
    /// Scopes on top.
    pub extra_scopes: Vec<String>,
    /// Scopes to leave out.
    pub skip_scopes: Vec<String>,
    /// Mail servers instead of the preset's.
    pub mail_hosts: Vec<MailHost>,
    /// Where a browser may be sent after a consent: exact URLs.
    pub return_uris: Vec<String>,
    /// What a refresh does to the refresh token; `None` means as the preset says.
    pub rotation: Option<Rotation>,
    /// Switched off: no consents, no refreshes.
    pub disabled: bool,
    /// Whether the provider took the app the last time it was asked.
    pub health: AppHealth,
    /// Rises with every change but of `health`.
    pub version: i64,
    /// When it was made.
    pub created_at: Time,
    /// When it was changed last.
    pub updated_at: Time,
}

/// How a client authenticates at the token endpoint (RFC 6749 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// HTTP Basic.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// In the form.
    #[serde(rename = "client_secret_post")]
    Post,
    /// Not at all: a public client.
    None,
}

/// Where a provider listens. Empty means not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Endpoints {
    /// The issuer as its ID tokens say it.
    pub issuer: String,
    /// The authorization endpoint.
    pub authorization: String,
    /// The token endpoint.
    pub token: String,
    /// The revocation endpoint (RFC 7009).
    pub revocation: String,
    /// The userinfo endpoint.
    pub userinfo: String,
    /// The key set of the ID tokens.
    pub jwks: String,
    /// Whether the metadata promise the `iss` parameter (RFC 9207).
    pub iss_advertised: bool,
}

/// What a refresh does to the refresh token it used (design section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// No new one comes.
    None,
    /// A new one comes, the old one stays valid.
    Replace,
    /// A new one comes, the old one stays valid for a while.
    Grace,
    /// A new one comes, the old one is dead at once.
    Strict,
}

/// Whether an app works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppHealth {
    /// Not tried yet.
    Unknown,
    /// The provider took it.
    Accepted,
    /// The provider refuses it since `since`, with this code.
    Rejected {
        /// When it was refused first.
        since: Time,
        /// The provider's code.
        code: String,
    },
}

/// One client secret of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecret {
    /// Its row.
    pub id: AppSecretId,
    /// The app.
    pub app: AppId,
    /// The secret.
    pub sealed: Sealed,
    /// Whether it is the one in use.
    pub active: bool,
    /// When it was added.
    pub created_at: Time,
    /// When the provider will stop taking it, if known.
    pub expires_at: Option<Time>,
}

impl ClientAuthMethod {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::None => "none",
        }
    }

    /// From the store or a preset.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Basic, Self::Post, Self::None].into_iter().find(|method| method.as_str() == text)
    }
}

impl Rotation {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Replace => "replace",
            Self::Grace => "grace",
            Self::Strict => "strict",
        }
    }

    /// From the store or a preset.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Replace, Self::Grace, Self::Strict]
            .into_iter()
            .find(|rotation| rotation.as_str() == text)
    }
}

impl Rights for App {
    const TABLE: &'static str = "apps";

    fn row(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn columns(&self, row: Canonical) -> Canonical {
        let Endpoints { issuer, authorization, token, revocation, userinfo, jwks, iss_advertised } =
            &self.endpoints;
        let hosts: Vec<String> = self.mail_hosts.iter().map(MailHost::to_string).collect();
        row.text("project", self.project.as_str())
            .text("name", self.name.as_str())
            .text("preset", self.preset.as_str())
            .text("authority", self.authority.as_str())
            .text("client_id", self.client_id.as_str())
            .text("client_auth", self.client_auth.map(ClientAuthMethod::as_str))
            .text("issuer", issuer.as_str())
            .text("authorization", authorization.as_str())
            .text("token", token.as_str())
            .text("revocation", revocation.as_str())
            .text("userinfo", userinfo.as_str())
            .text("jwks", jwks.as_str())
            .number("iss_advertised", i64::from(*iss_advertised))
            .list("base_scopes", self.base_scopes.iter().map(String::as_str))
            .list("extra_scopes", self.extra_scopes.iter().map(String::as_str))
            .list("skip_scopes", self.skip_scopes.iter().map(String::as_str))
            .list("mail_hosts", hosts.iter().map(String::as_str))
            .list("return_uris", self.return_uris.iter().map(String::as_str))
            .text("rotation", self.rotation.map(Rotation::as_str))
            .number("disabled", i64::from(self.disabled))
    }
}
