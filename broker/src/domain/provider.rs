//! The words in which a provider is described and answers: what a preset says, what a token answer holds.
//!
//! Never holds a rule about one provider; those stand in `presets/*.toml`. Invariant: every type here is plain data, and
//! what is secret is a [`Secret`]. Next: `providers/preset.rs` reads it from files, `service` and `store` carry it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;

/// How an app proves to the token endpoint who it is (RFC 6749 section 2.3, RFC 8414 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// `Authorization: Basic`, id and secret form-encoded first (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body.
    ClientSecretPost,
    /// A public client: `client_id` only, a secret is never sent.
    None,
}

/// The only code challenge we send (RFC 7636).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Pkce {
    /// SHA-256 of the verifier.
    #[default]
    S256,
}

/// What to do about the `iss` parameter of an authorization response (RFC 9207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssRule {
    /// It must be there and equal the issuer.
    Required,
    /// Required if the server's metadata promised it; if it comes unasked it must equal the issuer.
    #[default]
    IfAdvertised,
    /// The provider sends none, or one that cannot be compared.
    Ignore,
}

/// What becomes of a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays; no new one comes.
    None,
    /// A new one comes, the old one stays valid.
    Replace,
    /// A new one comes, the old one stays valid for this many seconds.
    Grace(u32),
    /// A new one comes, the old one is dead at once, and using it again may end the grant.
    Strict,
}

impl Rotation {
    /// Whether a refresh whose answer was lost may be repeated with the same token, `since` its first use.
    pub fn replay_is_safe(self, since: Duration) -> bool {
        match self {
            Self::None | Self::Replace => true,
            Self::Grace(seconds) => since < Duration::from_secs(seconds.into()),
            Self::Strict => false,
        }
    }
}

/// How refreshing goes at this provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRule {
    /// Send the target's scopes with the refresh (and with the code): one token per resource.
    pub send_scope: bool,
    /// What becomes of the old token.
    pub rotation: Rotation,
    /// Days without use after which a refresh token dies; absent = none known.
    pub idle_days: Option<u32>,
}

/// Which claims name the owner of a grant for ever. Never the e-mail address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectRule {
    /// `sub`.
    #[default]
    Sub,
    /// Microsoft: `oid` within the tenant `tid`; `sub` there differs per app.
    TidOid,
}

/// Where identity comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityRule {
    /// The claims that make the subject.
    pub subject: SubjectRule,
    /// Claims that may hold the mailbox address, best first; the first that looks like an address counts.
    pub mailbox: Vec<String>,
    /// Ask the userinfo endpoint where the ID token has no mailbox claim.
    pub userinfo_for_mailbox: bool,
}

/// Who a consent was given by, out of a checked ID token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's stable name of the person: `sub` or Microsoft's `oid`.
    pub subject: String,
    /// Microsoft's `tid`; part of the identity where present.
    pub tenant: Option<String>,
    /// The address the provider gives, to compare with the expected one and to show. Proves nothing alone.
    pub mailbox: Option<String>,
    /// Whether the provider says it checked that address.
    pub email_verified: bool,
}

/// A mail protocol that a target opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailProtocol {
    /// IMAP4.
    Imap,
    /// Message submission.
    Smtp,
    /// POP3.
    Pop,
}

/// One kind of access token: what is asked and redeemed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Scopes, in the provider's spelling.
    pub scopes: Vec<String>,
    /// Mail protocols that its tokens open.
    pub protocols: Vec<MailProtocol>,
}

/// Addresses of a provider's endpoints; `{tenant}` stands for the authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// RFC 6749 authorization endpoint.
    pub authorize: Option<String>,
    /// RFC 6749 token endpoint.
    pub token: Option<String>,
    /// RFC 7009 revocation.
    pub revoke: Option<String>,
    /// RFC 7662 introspection.
    pub introspect: Option<String>,
    /// OpenID Connect userinfo.
    pub userinfo: Option<String>,
    /// JSON Web Key Set.
    pub jwks: Option<String>,
    /// RFC 8628 device authorization.
    pub device: Option<String>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// TLS from the first byte.
    Tls,
    /// TLS after `STARTTLS`, never without.
    Starttls,
    /// No TLS; refused anywhere but on loopback.
    None,
}

/// A SASL mechanism that carries a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SaslMechanism {
    /// RFC 7628.
    OAuthBearer,
    /// Google's and Microsoft's forerunner of it.
    Xoauth2,
}

/// When the first SASL message goes along with the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialResponse {
    /// Where the server says that it may (`SASL-IR`). Never in SMTP, whose lines are too short for a token.
    #[default]
    IfAdvertised,
    /// Not even then.
    Never,
}

/// One mail server of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailHost {
    /// Host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS.
    pub tls: MailTls,
    /// Mechanisms, best first.
    pub sasl: Vec<SaslMechanism>,
    /// First SASL message with the command, or after it.
    #[serde(default)]
    pub initial_response: InitialResponse,
    /// `OK` proves nothing here: ask for something before the client is told.
    #[serde(default)]
    pub probe_after_login: bool,
    /// The host for personal accounts, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal_host: Option<String>,
}

/// A provider's mail servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailHosts {
    /// IMAP.
    pub imap: Option<MailHost>,
    /// Submission.
    pub smtp: Option<MailHost>,
    /// POP3.
    pub pop: Option<MailHost>,
}

/// What to expect of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenHints {
    /// Seconds a token is taken to live when the answer does not say.
    pub lifetime_s: u32,
    /// Seconds before expiry at which it counts as used up.
    pub margin_s: u32,
}

/// Scopes an app row changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeChanges {
    /// Asked for at consent in addition.
    pub extra: Vec<String>,
    /// Never asked for, whoever else wants them.
    pub skip: Vec<String>,
    /// A target's scopes instead of the preset's; a name the preset does not know makes a new target.
    pub targets: BTreeMap<String, Vec<String>>,
}

/// What a token endpoint handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access token. Absent only if the answer held a refresh token and no usable access token: the refresh token
    /// must be kept all the same.
    pub access_token: Option<Secret>,
    /// `Bearer` in this spelling, whatever the answer's; another type as it came.
    pub token_type: String,
    /// Life of the access token; absent if the answer said nothing usable. At most 366 days.
    pub expires_in: Option<Duration>,
    /// A new refresh token; absent = keep the old one.
    pub refresh_token: Option<Secret>,
    /// The scopes granted, if the answer names them.
    pub scopes: Option<Vec<String>>,
    /// The ID token, unchecked.
    pub id_token: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strict_provider_forbids_to_repeat_a_lost_refresh() {
        let (soon, late) = (Duration::from_secs(5), Duration::from_secs(60));
        assert!(Rotation::None.replay_is_safe(late));
        assert!(Rotation::Replace.replay_is_safe(late));
        assert!(Rotation::Grace(30).replay_is_safe(soon));
        assert!(!Rotation::Grace(30).replay_is_safe(late));
        assert!(!Rotation::Strict.replay_is_safe(soon));
    }
}
