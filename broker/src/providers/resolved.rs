//! A preset and one app's settings, joined: a provider with nothing left open.
//!
//! Never asks the network; discovery has run before and its finds are in the app row. Invariant: every endpoint of a
//! [`Resolved`] passed the address rule, so no caller checks again. Next: [`client`](super::client) speaks to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::domain::provider::{
    AccessTokenHints, ClientAuthMethod, IdentityRule, IssRule, MailHost, MailHosts, RefreshRule,
    Target,
};
use crate::domain::refusal::ErrorTables;
use crate::providers::address::AddressRule;
use crate::providers::preset::{AuthorizeRule, Preset};
use crate::providers::settings::{AppSettings, SettingsError, is_authority};

/// The endpoints of a provider, every one of them callable under the address rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// Authorization endpoint.
    pub authorize: Url,
    /// Token endpoint.
    pub token: Url,
    /// Revocation endpoint.
    pub revoke: Option<Url>,
    /// Introspection endpoint.
    pub introspect: Option<Url>,
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
    /// Whether metadata promised it.
    pub iss_advertised: bool,
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
    pub mail: MailHosts,
    /// What refusals mean.
    pub errors: Arc<ErrorTables>,
}

/// The authorization response does not come from the issuer that was asked (RFC 9207, mix-up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer does not name the issuer that was asked")]
pub struct IssMismatch;

impl Preset {
    /// Joins this preset and an app's settings. Pure.
    ///
    /// # Errors
    /// What the app row lacks or may not say.
    pub fn resolve(&self, app: &AppSettings, rule: AddressRule) -> Result<Resolved, SettingsError> {
        if app.client_id.is_empty() {
            return Err(SettingsError::NoClientId);
        }
        let authority = self.authority_of(app)?;
        let issuer = app.issuer.clone().or_else(|| self.issuer.clone());
        if self.needs_issuer && issuer.is_none() {
            return Err(SettingsError::NoIssuer { preset: self.name.clone() });
        }
        Ok(Resolved {
            urls: self.urls_of(app, authority.as_deref(), rule)?,
            preset: self.name.clone(),
            client_id: app.client_id.clone(),
            issuer,
            personal_tenant: self.authority.as_ref().map(|rule| rule.personal_tenant.clone()),
            iss_parameter: self.iss_parameter,
            iss_advertised: app.iss_advertised,
            client_auth: app
                .client_auth
                .map_or_else(|| self.client_auth.clone(), |only| vec![only]),
            authorize: AuthorizeRule {
                base_scopes: without(&self.authorize.base_scopes, &app.scopes.skip),
                params: app.params_over(&self.authorize.params)?,
                ..self.authorize.clone()
            },
            extra_scopes: without(&app.scopes.extra, &app.scopes.skip),
            scope_separator: self.scope_separator.clone(),
            targets: self.targets_of(app),
            refresh: RefreshRule {
                rotation: app.rotation.unwrap_or(self.refresh.rotation),
                ..self.refresh.clone()
            },
            access_token: self.access_token,
            identity: self.identity.clone(),
            mail: self.mail_of(app, authority.as_deref()),
            errors: Arc::clone(&self.errors),
            authority,
        })
    }

    /// The authority to keep with an account after sign-in, from the `tid` of its ID token: `consumers` for personal
    /// accounts, else the tenant itself. None where the provider has no tenants.
    pub fn pinned_authority(&self, tid: &str) -> Option<String> {
        let rule = self.authority.as_ref()?;
        let personal = tid.eq_ignore_ascii_case(&rule.personal_tenant);
        Some(if personal { "consumers".to_owned() } else { tid.to_ascii_lowercase() })
    }

    fn urls_of(
        &self,
        app: &AppSettings,
        tenant: Option<&str>,
        rule: AddressRule,
    ) -> Result<Urls, SettingsError> {
        let url = |field, app: &Option<String>, own: &Option<String>| {
            app.as_ref().or(own.as_ref()).map(|text| checked(field, text, tenant, rule)).transpose()
        };
        let missing = |field| SettingsError::NoEndpoint { preset: self.name.clone(), field };
        let (app, own) = (&app.endpoints, &self.endpoints);
        Ok(Urls {
            authorize: url("authorize", &app.authorize, &own.authorize)?
                .ok_or_else(|| missing("authorize"))?,
            token: url("token", &app.token, &own.token)?.ok_or_else(|| missing("token"))?,
            revoke: url("revoke", &app.revoke, &own.revoke)?,
            introspect: url("introspect", &app.introspect, &own.introspect)?,
            userinfo: url("userinfo", &app.userinfo, &own.userinfo)?,
            jwks: url("jwks", &app.jwks, &own.jwks)?,
            device: url("device", &app.device, &own.device)?,
        })
    }

    fn authority_of(&self, app: &AppSettings) -> Result<Option<String>, SettingsError> {
        match (&self.authority, &app.authority) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(SettingsError::Authority),
            (Some(rule), None) => Ok(Some(rule.default.clone())),
            (Some(_), Some(wanted)) if is_authority(wanted) => {
                Ok(Some(wanted.to_ascii_lowercase()))
            }
            (Some(_), Some(_)) => Err(SettingsError::Authority),
        }
    }

    fn targets_of(&self, app: &AppSettings) -> BTreeMap<String, Target> {
        let mut targets = self.targets.clone();
        for (name, scopes) in &app.scopes.targets {
            targets.entry(name.clone()).or_default().scopes.clone_from(scopes);
        }
        for target in targets.values_mut() {
            target.scopes = without(&target.scopes, &app.scopes.skip);
        }
        targets
    }

    fn mail_of(&self, app: &AppSettings, authority: Option<&str>) -> MailHosts {
        let personal = authority == Some("consumers");
        let pick = |given: &Option<MailHost>, own: &Option<MailHost>| {
            let own = own.clone().map(|mut host| {
                if let Some(other) = host.personal_host.take().filter(|_| personal) {
                    host.host = other;
                }
                host
            });
            given.clone().or(own)
        };
        MailHosts {
            imap: pick(&app.mail.imap, &self.mail.imap),
            smtp: pick(&app.mail.smtp, &self.mail.smtp),
            pop: pick(&app.mail.pop, &self.mail.pop),
        }
    }
}

impl Resolved {
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

    /// Checks the `iss` parameter of an authorization response, of success and of failure.
    ///
    /// # Errors
    /// It is missing where it must be there, or it is not the issuer, compared as text.
    pub fn check_iss(&self, iss: Option<&str>) -> Result<(), IssMismatch> {
        let required = match self.iss_parameter {
            IssRule::Ignore => return Ok(()),
            IssRule::Required => true,
            IssRule::IfAdvertised => self.iss_advertised,
        };
        match (iss, self.issuer.as_deref()) {
            (None, _) if !required => Ok(()),
            (Some(said), Some(issuer)) if said == issuer => Ok(()),
            _ => Err(IssMismatch),
        }
    }
}

fn checked(
    field: &'static str,
    text: &str,
    tenant: Option<&str>,
    rule: AddressRule,
) -> Result<Url, SettingsError> {
    let text = tenant.map_or_else(|| text.to_owned(), |tenant| text.replace("{tenant}", tenant));
    let url = Url::parse(&text).map_err(|_| SettingsError::NotUrl { field })?;
    rule.check(&url).map_err(|why| SettingsError::Refused { field, why })?;
    Ok(url)
}

fn without(scopes: &[String], skip: &[String]) -> Vec<String> {
    scopes.iter().filter(|scope| !skip.contains(scope)).cloned().collect()
}
