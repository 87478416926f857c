//! One app's provider, with nothing left open.
//!
//! Never made by hand: only [`Preset::resolve`](super::Preset::resolve) makes one. Invariant: every endpoint passed the
//! address rule, so no caller checks again. Next: [`client`](super::client) speaks to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::domain::app::{ClientAuthMethod, Endpoints};
use crate::domain::mail::MailProtocol;
use crate::domain::provider::{
    AccessTokenHints, IdentityRule, IssRule, MailServer, RefreshRule, Target,
};
use crate::domain::refusal::ErrorTables;
use crate::providers::preset::AuthorizeRule;

/// The endpoints of a provider, every one of them callable under the address rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// Authorization endpoint.
    pub authorization: Url,
    /// Token endpoint.
    pub token: Url,
    /// Revocation endpoint.
    pub revocation: Option<Url>,
    /// Userinfo endpoint.
    pub userinfo: Option<Url>,
    /// Key set.
    pub jwks: Option<Url>,
    /// Device authorization endpoint.
    pub device: Option<Url>,
}

/// One app's provider.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The preset's name.
    pub preset: String,
    /// The client id.
    pub client_id: String,
    /// The issuer; may still hold `{tenantid}`.
    pub issuer: Option<String>,
    /// The authority in force, where the provider has tenants.
    pub authority: Option<String>,
    /// The tenant of personal accounts.
    pub personal_tenant: Option<String>,
    /// What to do about the `iss` parameter.
    pub iss_parameter: IssRule,
    /// Endpoints, all of them checked.
    pub urls: Urls,
    /// Client authentication, best first.
    pub client_auth: Vec<ClientAuthMethod>,
    /// The consent request.
    pub authorize: AuthorizeRule,
    /// Scopes asked for at consent in addition.
    pub extra_scopes: Vec<String>,
    /// Between scopes.
    pub scope_separator: String,
    /// Kinds of access token.
    pub targets: BTreeMap<String, Target>,
    /// Refreshing.
    pub refresh: RefreshRule,
    /// Access tokens.
    pub access_token: AccessTokenHints,
    /// Identity.
    pub identity: IdentityRule,
    /// Mail servers.
    pub mail: BTreeMap<MailProtocol, MailServer>,
    /// What refusals mean.
    pub errors: Arc<ErrorTables>,
}

/// The authorization response does not come from the issuer that was asked (RFC 9207, mix-up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer does not name the issuer that was asked")]
pub struct IssMismatch;

impl Resolved {
    /// The endpoints in use, for people.
    pub fn endpoints(&self) -> Endpoints {
        let text = |url: &Option<Url>| url.as_ref().map(Url::to_string).unwrap_or_default();
        Endpoints {
            issuer: self.issuer.clone().unwrap_or_default(),
            authorization: self.urls.authorization.to_string(),
            token: self.urls.token.to_string(),
            revocation: text(&self.urls.revocation),
            userinfo: text(&self.urls.userinfo),
            jwks: text(&self.urls.jwks),
            iss_advertised: false,
        }
    }

    /// What to ask for at consent so that all of `targets` can be served; no scope twice.
    pub fn consent_scopes(&self, targets: &[String]) -> Vec<String> {
        let of_targets = targets.iter().filter_map(|name| self.targets.get(name));
        let all = self.authorize.base_scopes.iter();
        let all = all.chain(of_targets.flat_map(|target| &target.scopes)).chain(&self.extra_scopes);
        let mut scopes: Vec<String> = Vec::new();
        for scope in all {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }

    /// Checks the `iss` parameter of an authorization response, of success and of failure. `advertised`: the server's
    /// metadata promised it.
    ///
    /// # Errors
    /// It is missing where it must be there, or it is not the issuer, compared as text.
    pub fn check_iss(&self, iss: Option<&str>, advertised: bool) -> Result<(), IssMismatch> {
        let required = match self.iss_parameter {
            IssRule::Ignore => return Ok(()),
            IssRule::Required => true,
            IssRule::IfAdvertised => advertised,
        };
        match (iss, self.issuer.as_deref()) {
            (None, _) if !required => Ok(()),
            (Some(said), Some(issuer)) if said == issuer => Ok(()),
            _ => Err(IssMismatch),
        }
    }
}
