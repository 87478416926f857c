//! A preset and one app, joined.
//!
//! Never asks the network; discovery has run before and its finds are in the app row. Invariant: an app row can change
//! what a preset says, but no endpoint gets past the address rule and no authority bends a path. Next:
//! [`resolved`](super::resolved) is what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::domain::app::App;
use crate::domain::mail::{MailHost, MailProtocol, SaslMechanism};
use crate::domain::provider::{InitialResponse, MailServer, RefreshRule, Target};
use crate::providers::address::{AddressRefused, AddressRule};
use crate::providers::preset::{AuthorityRule, AuthorizeRule, Preset, PresetServer};
use crate::providers::resolved::{Resolved, Urls};

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
    #[error("authority is empty: preset {preset} needs the issuer's URL there")]
    NoIssuer {
        /// The preset.
        preset: String,
    },
    /// Not one of the preset's authorities.
    #[error("authority is not one of preset {preset}: {known}")]
    UnknownAuthority {
        /// The preset.
        preset: String,
        /// What may stand there.
        known: String,
    },
    /// The preset has no authorities.
    #[error("authority must be empty: the provider has neither tenants nor data centres")]
    Authority,
}

impl SettingsError {
    /// The field that is wrong, as the contract names it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoClientId => "app.client_id",
            Self::NoEndpoint { .. } | Self::NotUrl { .. } | Self::Refused { .. } => "app.endpoints",
            Self::NoIssuer { .. } | Self::UnknownAuthority { .. } | Self::Authority => {
                "app.authority"
            }
        }
    }
}

impl Preset {
    /// Joins this preset and an app, for one account where `pinned` is the authority kept with it. Pure.
    ///
    /// # Errors
    /// What the app row lacks or may not say.
    pub fn resolve(
        &self,
        app: &App,
        pinned: Option<&str>,
        rule: AddressRule,
    ) -> Result<Resolved, SettingsError> {
        if app.client_id.is_empty() {
            return Err(SettingsError::NoClientId);
        }
        let authority = self.authority_of(app, pinned.filter(|pinned| !pinned.is_empty()))?;
        let issuer = self.issuer_of(app, authority.as_deref())?;
        let base =
            if app.base_scopes.is_empty() { &self.authorize.base_scopes } else { &app.base_scopes };
        Ok(Resolved {
            urls: self.urls_of(app, authority.as_deref(), rule)?,
            preset: self.name.clone(),
            client_id: app.client_id.clone(),
            issuer,
            personal_tenant: self.authority.as_ref().and_then(|rule| rule.personal_tenant.clone()),
            iss_parameter: self.iss_parameter,
            client_auth: app
                .client_auth
                .map_or_else(|| self.client_auth.clone(), |only| vec![only]),
            authorize: AuthorizeRule {
                base_scopes: without(base, &app.skip_scopes),
                ..self.authorize.clone()
            },
            extra_scopes: without(&app.extra_scopes, &app.skip_scopes),
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
        let rule = self.authority.as_ref().filter(|rule| rule.tenants)?;
        let personal = rule.personal_tenant.as_ref().is_some_and(|id| tid.eq_ignore_ascii_case(id));
        Some(if personal { "consumers".to_owned() } else { tid.to_ascii_lowercase() })
    }

    fn issuer_of(
        &self,
        app: &App,
        authority: Option<&str>,
    ) -> Result<Option<String>, SettingsError> {
        let discovered = if self.needs_issuer { app.authority.as_str() } else { "" };
        let given = [app.endpoints.issuer.as_str(), discovered];
        let given = given.into_iter().find(|issuer| !issuer.is_empty()).map(str::to_owned);
        let own = || self.issuer.as_deref().map(|issuer| at(issuer, authority));
        let issuer = given.or_else(own);
        if self.needs_issuer && issuer.is_none() {
            return Err(SettingsError::NoIssuer { preset: self.name.clone() });
        }
        Ok(issuer)
    }

    fn authority_of(
        &self,
        app: &App,
        pinned: Option<&str>,
    ) -> Result<Option<String>, SettingsError> {
        let wanted = pinned.unwrap_or(&app.authority);
        let named = |rule: &AuthorityRule| {
            rule.names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
                || (rule.tenants && is_tenant(wanted))
        };
        match &self.authority {
            None if self.needs_issuer || wanted.is_empty() => Ok(None),
            None => Err(SettingsError::Authority),
            Some(rule) if wanted.is_empty() => Ok(Some(rule.default.clone())),
            Some(rule) if named(rule) => Ok(Some(wanted.to_ascii_lowercase())),
            Some(rule) => Err(SettingsError::UnknownAuthority {
                preset: self.name.clone(),
                known: rule.names.join(", ")
                    + if rule.tenants { ", a tenant id or a domain" } else { "" },
            }),
        }
    }

    fn urls_of(
        &self,
        app: &App,
        tenant: Option<&str>,
        rule: AddressRule,
    ) -> Result<Urls, SettingsError> {
        let url = |field, app: &str, own: &str| -> Result<Option<Url>, SettingsError> {
            let text = if app.is_empty() { own } else { app };
            if text.is_empty() { Ok(None) } else { checked(field, text, tenant, rule).map(Some) }
        };
        let needed = |field, found: Option<Url>| {
            found.ok_or_else(|| SettingsError::NoEndpoint { preset: self.name.clone(), field })
        };
        let (app, own) = (&app.endpoints, &self.endpoints);
        let authorization = url("authorization", &app.authorization, &own.authorization)?;
        Ok(Urls {
            authorization: needed("authorization", authorization)?,
            token: needed("token", url("token", &app.token, &own.token)?)?,
            revocation: url("revocation", &app.revocation, &own.revocation)?,
            userinfo: url("userinfo", &app.userinfo, &own.userinfo)?,
            jwks: url("jwks", &app.jwks, &own.jwks)?,
            device: url("device", "", &own.device)?,
        })
    }

    /// The preset's targets; an extra scope of the same resource joins a target, so that its tokens carry it.
    fn targets_of(&self, app: &App) -> BTreeMap<String, Target> {
        let mut targets = self.targets.clone();
        for target in targets.values_mut() {
            let hosts: Vec<_> = target.scopes.iter().filter_map(|scope| resource(scope)).collect();
            let joins = |scope: &&String| resource(scope).is_some_and(|host| hosts.contains(&host));
            let more: Vec<_> = app.extra_scopes.iter().filter(joins).cloned().collect();
            target.scopes.extend(more);
            target.scopes = without(&target.scopes, &app.skip_scopes);
        }
        targets
    }

    fn mail_of(&self, app: &App, authority: Option<&str>) -> BTreeMap<MailProtocol, MailServer> {
        let personal = authority == Some("consumers");
        let own = self
            .mail
            .iter()
            .map(|(protocol, server)| (*protocol, server.server(*protocol, personal)));
        let mut servers: BTreeMap<_, _> = own.collect();
        for host in &app.mail_hosts {
            let known = servers.remove(&host.protocol);
            let server =
                MailServer { host: host.clone(), ..known.unwrap_or_else(|| unknown(host)) };
            servers.insert(host.protocol, server);
        }
        servers
    }
}

impl PresetServer {
    fn server(&self, protocol: MailProtocol, personal: bool) -> MailServer {
        let host = self.personal_host.as_ref().filter(|_| personal).unwrap_or(&self.host).clone();
        MailServer {
            host: MailHost { protocol, host, port: self.port, tls: self.tls },
            sasl: self.sasl.clone(),
            initial_response: self.initial_response,
            probe_after_login: self.probe_after_login,
        }
    }
}

/// A server the preset does not know: both mechanisms may do, and its greeting is believed.
fn unknown(host: &MailHost) -> MailServer {
    MailServer {
        host: host.clone(),
        sasl: vec![SaslMechanism::OAuthBearer, SaslMechanism::XOauth2],
        initial_response: InitialResponse::IfAdvertised,
        probe_after_login: false,
    }
}

fn checked(
    field: &'static str,
    text: &str,
    tenant: Option<&str>,
    rule: AddressRule,
) -> Result<Url, SettingsError> {
    let url = Url::parse(&at(text, tenant)).map_err(|_| SettingsError::NotUrl { field })?;
    rule.check(&url).map_err(|why| SettingsError::Refused { field, why })?;
    Ok(url)
}

/// A template with the authority in its place.
fn at(template: &str, authority: Option<&str>) -> String {
    authority.map_or_else(|| template.to_owned(), |name| template.replace("{tenant}", name))
}

/// A GUID or a domain: nothing that could change the path it is put into. But for one of the names, a word without a dot
/// is no tenant.
fn is_tenant(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let guid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    let domain = text.len() <= 253 && text.contains('.') && text.split('.').all(label);
    guid || domain
}

/// The resource that a scope written as a URL belongs to.
fn resource(scope: &str) -> Option<String> {
    Url::parse(scope).ok()?.host_str().map(str::to_owned)
}

fn without(scopes: &[String], skip: &[String]) -> Vec<String> {
    scopes.iter().filter(|scope| !skip.contains(scope)).cloned().collect()
}
