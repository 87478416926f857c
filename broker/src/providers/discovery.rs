//! What an issuer publishes about itself (RFC 8414, OpenID Connect Discovery).
//!
//! Never believed later: what is found is shown to the operator and pinned in the app row. Invariant: metadata that names
//! another issuer than the one asked is refused (mix-up, threat T18). Next: the endpoints go into
//! [`App`](crate::domain::app::App).

use serde_json::{Map, Value};
use url::Url;

use crate::domain::app::Endpoints;
use crate::domain::refusal::Refused;
use crate::providers::address::AddressRefused;

/// An issuer's metadata, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The issuer, equal to the one asked.
    pub issuer: String,
    /// Its endpoints, all of them callable under the address rule.
    pub endpoints: Endpoints,
    /// S256 is among its code challenge methods; a server that does not say so may still support it.
    pub pkce_s256: bool,
    /// `token_endpoint_auth_methods_supported`.
    pub client_auth_methods: Vec<String>,
    /// `scopes_supported`.
    pub scopes: Vec<String>,
}

impl Discovered {
    /// Endpoints on another host than the issuer's, to be shown before they are pinned.
    pub fn foreign_hosts(&self) -> Vec<String> {
        let own = host(&self.issuer);
        let mut hosts: Vec<String> =
            each(&self.endpoints).filter_map(|(_, url)| host(url)).collect();
        hosts.retain(|host| Some(host) != own.as_ref());
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

/// No metadata to rely on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The issuer is not a URL we call, or has a query.
    #[error("the issuer is not an https URL without query and fragment")]
    BadIssuer,
    /// Nothing usable came.
    #[error("the issuer publishes no metadata: {0}")]
    Unreachable(Refused),
    /// The metadata belong to another issuer.
    #[error(
        "the metadata name another issuer than the one asked; issuers are compared byte for byte"
    )]
    IssuerMismatch,
    /// The metadata lack an endpoint that is needed.
    #[error("the metadata lack {0}")]
    Lacks(&'static str),
    /// An endpoint is not one we call.
    #[error("the metadata's {field} is refused: {why}")]
    Refused {
        /// The field.
        field: &'static str,
        /// Why.
        why: AddressRefused,
    },
    /// An endpoint is not a URL.
    #[error("the metadata's {0} is not a URL")]
    NotUrl(&'static str),
}

/// Where metadata of an issuer may be: RFC 8414 section 3.1 between host and path, OpenID Connect behind the path.
pub(super) fn locations(issuer: &str) -> Result<[Url; 2], DiscoveryError> {
    let url = Url::parse(issuer).map_err(|_| DiscoveryError::BadIssuer)?;
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return Err(DiscoveryError::BadIssuer);
    }
    let path = url.path().trim_end_matches('/');
    let (mut oauth, mut openid) = (url.clone(), url.clone());
    oauth.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    openid.set_path(&format!("{path}/.well-known/openid-configuration"));
    Ok([oauth, openid])
}

/// Reads metadata; the addresses of its endpoints are the caller's to check.
pub(super) fn read(
    issuer: &str,
    document: &Map<String, Value>,
) -> Result<Discovered, DiscoveryError> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let items = document.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if text("issuer").as_deref() != Some(issuer) {
        return Err(DiscoveryError::IssuerMismatch);
    }
    let promised = document.get("authorization_response_iss_parameter_supported");
    let found = Discovered {
        issuer: issuer.to_owned(),
        endpoints: Endpoints {
            issuer: issuer.to_owned(),
            authorization: text("authorization_endpoint").unwrap_or_default(),
            token: text("token_endpoint").unwrap_or_default(),
            revocation: text("revocation_endpoint").unwrap_or_default(),
            userinfo: text("userinfo_endpoint").unwrap_or_default(),
            jwks: text("jwks_uri").unwrap_or_default(),
            iss_advertised: promised.and_then(Value::as_bool).unwrap_or(false),
        },
        pkce_s256: list("code_challenge_methods_supported").iter().any(|method| method == "S256"),
        client_auth_methods: list("token_endpoint_auth_methods_supported"),
        scopes: list("scopes_supported"),
    };
    if found.endpoints.authorization.is_empty() {
        return Err(DiscoveryError::Lacks("authorization_endpoint"));
    }
    if found.endpoints.token.is_empty() {
        return Err(DiscoveryError::Lacks("token_endpoint"));
    }
    Ok(found)
}

/// The endpoints that are there, with the names they have in metadata.
pub(super) fn each(endpoints: &Endpoints) -> impl Iterator<Item = (&'static str, &str)> {
    let named = [
        ("authorization_endpoint", &endpoints.authorization),
        ("token_endpoint", &endpoints.token),
        ("revocation_endpoint", &endpoints.revocation),
        ("userinfo_endpoint", &endpoints.userinfo),
        ("jwks_uri", &endpoints.jwks),
    ];
    named.into_iter().map(|(name, url)| (name, url.as_str())).filter(|(_, url)| !url.is_empty())
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://auth.example/realms/mail";

    fn metadata() -> Map<String, Value> {
        object(json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://auth.example/a",
            "token_endpoint": "https://tokens.example/t",
            "authorization_response_iss_parameter_supported": true,
            "code_challenge_methods_supported": ["S256"],
        }))
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn metadata_are_looked_for_where_both_specifications_put_them() {
        let [oauth, openid] = locations(ISSUER).unwrap();
        assert_eq!(
            oauth.as_str(),
            "https://auth.example/.well-known/oauth-authorization-server/realms/mail"
        );
        assert_eq!(
            openid.as_str(),
            "https://auth.example/realms/mail/.well-known/openid-configuration"
        );
        let [oauth, _] = locations("https://auth.example").unwrap();
        assert_eq!(oauth.as_str(), "https://auth.example/.well-known/oauth-authorization-server");
        assert_eq!(locations("https://auth.example?x=1"), Err(DiscoveryError::BadIssuer));
        assert_eq!(locations("mailto:x"), Err(DiscoveryError::BadIssuer));
    }

    #[test]
    fn metadata_of_another_issuer_are_refused() {
        assert!(read(ISSUER, &metadata()).is_ok());
        for other in ["https://auth.example/realms/mail/", "https://AUTH.example/realms/mail", ""] {
            assert_eq!(read(other, &metadata()), Err(DiscoveryError::IssuerMismatch), "{other}");
        }
        assert_eq!(
            read(ISSUER, &object(json!({"issuer": ISSUER}))),
            Err(DiscoveryError::Lacks("authorization_endpoint"))
        );
    }

    #[test]
    fn hosts_other_than_the_issuers_are_shown() {
        let found = read(ISSUER, &metadata()).unwrap();
        assert!(found.endpoints.iss_advertised && found.pkce_s256);
        assert_eq!(found.foreign_hosts(), ["tokens.example"]);
    }
}
