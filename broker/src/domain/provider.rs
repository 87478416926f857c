//! The words in which a provider is described and answers: what a preset says, what a token answer holds.
//!
//! Never holds a rule about one provider; those stand in `presets/*.toml`. Invariant: every type here is plain data, and
//! what is secret is a [`Secret`]. Next: `providers/preset.rs` reads it from files, `service` and `store` carry it.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::domain::app::Rotation;
use crate::domain::mail::{MailHost, MailProtocol, SaslMechanism};
use crate::domain::secret::Secret;

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

/// How refreshing goes at this provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRule {
    /// Send the target's scopes with the refresh (and with the code): one token per resource.
    pub send_scope: bool,
    /// What becomes of the old token.
    pub rotation: Rotation,
    /// Seconds an old token stays valid where `rotation` is grace.
    #[serde(default = "usual_grace")]
    pub grace_s: u32,
    /// Seconds without use after which a refresh token dies; every use starts them anew. Absent = none known. In a
    /// preset `idle = "90d"`.
    #[serde(default, rename = "idle", deserialize_with = "span")]
    pub idle_s: Option<u64>,
    /// Seconds after consent at which a refresh token dies, however much it is used. Absent = none known. In a preset
    /// `life = "24h"`.
    #[serde(default, rename = "life", deserialize_with = "span")]
    pub life_s: Option<u64>,
    /// A refresh token dies with the access token that came along, so the answer's `expires_in` tells its end too.
    #[serde(default)]
    pub ends_with_access_token: bool,
    /// Token calls per minute that the provider allows one app. Absent = none documented.
    pub rate_per_minute: Option<u32>,
    /// Least seconds between two calls with the same refresh token. Absent = none documented.
    pub min_spacing_s: Option<u32>,
    /// The client id stands in the form even where HTTP Basic carries it too.
    #[serde(default)]
    pub client_id_in_form: bool,
}

/// Okta's and others' default, and the shortest one known.
const fn usual_grace() -> u32 {
    30
}

/// A span of time in a preset: a whole number and `d`, `h`, `m` or `s`.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        text.strip_suffix(*unit)?.parse::<u64>().ok()?.checked_mul(*seconds)
    });
    let wrong = || serde::de::Error::custom("a span is a number and d, h, m or s, such as 90d");
    seconds.filter(|seconds| *seconds > 0).map(Some).ok_or_else(wrong)
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

impl Identity {
    /// As an account keeps it: `sub`, or `tid.oid`.
    pub fn account_subject(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}.{}", self.subject),
            None => self.subject.clone(),
        }
    }
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

/// When the first SASL message goes along with the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialResponse {
    /// Where the server says that it may (`SASL-IR`). Never in SMTP, whose lines are too short for a token.
    #[default]
    IfAdvertised,
    /// Not even then.
    Never,
}

/// One mail server of a provider, and how to log in to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Where it is and what it speaks.
    pub host: MailHost,
    /// Mechanisms, best first.
    pub sasl: Vec<SaslMechanism>,
    /// First SASL message with the command, or after it.
    pub initial_response: InitialResponse,
    /// `OK` proves nothing here: ask for something before the client is told.
    pub probe_after_login: bool,
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
    /// What is left of the life of the refresh token, new or old, if the answer says; zero is never said. At most 100
    /// years.
    pub refresh_expires_in: Option<Duration>,
    /// The scopes granted, if the answer names them.
    pub scopes: Option<Vec<String>>,
    /// The ID token, unchecked.
    pub id_token: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> RefreshRule {
        toml::from_str(&format!("send_scope = false\nrotation = \"none\"\n{more}")).unwrap()
    }

    #[test]
    fn a_span_is_read_in_seconds_and_nonsense_stops_the_start() {
        let rule = read("idle = \"90d\"\nlife = \"24h\"");
        assert_eq!((rule.idle_s, rule.life_s), (Some(7_776_000), Some(86_400)));
        assert_eq!((read("").idle_s, read("").life_s), (None, None));
        for bad in ["90", "d", "-1d", "0d", "90 d", "1.5h", "99999999999999999999d", "1w", "1d2"] {
            let text = format!("send_scope = false\nrotation = \"none\"\nidle = \"{bad}\"");
            assert!(toml::from_str::<RefreshRule>(&text).is_err(), "{bad}");
        }
    }
}
