//! OAuth apps as managers see them: reading, listing, and the words for what may be said about them.
//!
//! Never shows a client secret. Next: `create_app`, `update_app`, `app_secrets`, `verify_app`.

use crate::domain::app::{App, AppSecret, ClientAuthMethod, Endpoints, Rotation};
use crate::domain::caller::Manage;
use crate::domain::event::{Event, What};
use crate::domain::ids::ResourceId;
use crate::domain::mail::MailHost;
use crate::domain::refresh::AppGate;
use crate::service::{EndpointState, Error, Service};
use crate::store::{Page, PageRequest};

/// What an app shall be.
#[derive(Clone, Debug, Default)]
pub struct AppDraft {
    /// Its id; made from the preset's name if absent.
    pub id: Option<ResourceId>,
    /// For people.
    pub display_name: String,
    /// The preset.
    pub preset: String,
    /// Microsoft's authority, or the issuer to discover.
    pub authority: String,
    /// The client id.
    pub client_id: String,
    /// How the client authenticates.
    pub client_auth: Option<ClientAuthMethod>,
    /// Endpoints for `custom`.
    pub endpoints: Endpoints,
    /// Scopes instead of the preset's.
    pub base_scopes: Vec<String>,
    /// Scopes on top.
    pub extra_scopes: Vec<String>,
    /// Scopes to leave out.
    pub skip_scopes: Vec<String>,
    /// Mail servers instead of the preset's.
    pub mail_hosts: Vec<MailHost>,
    /// Where browsers may be sent.
    pub return_uris: Vec<String>,
    /// What a refresh does to the refresh token.
    pub rotation: Option<Rotation>,
    /// Switched off from the start.
    pub disabled: bool,
}

/// What shall be different; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    /// For people.
    pub display_name: Option<String>,
    /// The client id.
    pub client_id: Option<String>,
    /// How the client authenticates.
    pub client_auth: Option<Option<ClientAuthMethod>>,
    /// Endpoints, for `custom` only.
    pub endpoints: Option<Endpoints>,
    /// Scopes instead of the preset's.
    pub base_scopes: Option<Vec<String>>,
    /// Scopes on top.
    pub extra_scopes: Option<Vec<String>>,
    /// Scopes to leave out.
    pub skip_scopes: Option<Vec<String>>,
    /// Mail servers.
    pub mail_hosts: Option<Vec<MailHost>>,
    /// Where browsers may be sent.
    pub return_uris: Option<Vec<String>>,
    /// What a refresh does to the refresh token.
    pub rotation: Option<Option<Rotation>>,
    /// Switched off.
    pub disabled: Option<bool>,
}

/// An app with what belongs to it.
#[derive(Clone, Debug)]
pub struct AppView {
    /// The app.
    pub app: App,
    /// Its secrets, sealed.
    pub secrets: Vec<AppSecret>,
    /// The redirect URI to register at the provider.
    pub redirect_uri: String,
    /// The endpoints in use, the preset's included.
    pub endpoints: Endpoints,
    /// Whether it may be used now, for all brokers.
    pub gate: AppGate,
    /// How its token endpoint answers this broker, if it was asked.
    pub token_endpoint: Option<EndpointState>,
}

/// What asking the provider about an app brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whether the provider takes the app.
    pub accepted: bool,
    /// What was tried and found, a line each.
    pub findings: Vec<String>,
}

impl Service {
    /// One app.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn app_view(&self, permit: &Manage, name: &ResourceId) -> Result<AppView, Error> {
        let app = self.app_named(permit.project(), name).await?;
        self.view_app(app).await
    }

    /// The apps of a project, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn apps(&self, permit: &Manage, page: PageRequest) -> Result<Page<AppView>, Error> {
        let found = self.read().await?.apps(permit.project(), &page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for row in found.items {
            items.push(self.view_app(self.parts.sealer.admit(row)?).await?);
        }
        Ok(Page { items, next_page_token: found.next_page_token })
    }

    /// The names, titles and targets of the presets this broker knows.
    pub fn presets(&self) -> Vec<(String, String, Vec<String>)> {
        let one = |preset: &crate::providers::preset::Preset| {
            (preset.name.clone(), preset.title.clone(), preset.targets.keys().cloned().collect())
        };
        self.parts.presets.iter().map(one).collect()
    }

    pub(super) async fn view_app(&self, app: App) -> Result<AppView, Error> {
        let mut conn = self.read().await?;
        let secrets = conn.app_secrets(app.id).await?;
        let gate = conn.app_gate(app.id).await?.unwrap_or(AppGate::Open);
        drop(conn);
        // An app that no longer resolves, say after a change of the configuration, must still be shown.
        let resolved = self.resolve(&app);
        let token_endpoint =
            resolved.as_ref().ok().and_then(|it| self.gates.endpoint(&it.urls.token));
        let endpoints = resolved.map_or_else(|_| app.endpoints.clone(), |it| it.endpoints());
        let redirect_uri = self.redirect_uri(&app);
        Ok(AppView { redirect_uri, secrets, endpoints, gate, token_endpoint, app })
    }

    /// An audit record about an app.
    pub(super) fn app_event(&self, permit: &Manage, what: What, app: &ResourceId) -> Event {
        self.managed(permit, what, "", &format!("apps/{app}"))
    }

    /// An audit record about something that was managed.
    pub(super) fn managed(
        &self,
        permit: &Manage,
        what: What,
        account: &str,
        subject: &str,
    ) -> Event {
        Event {
            at: self.parts.clock.now(),
            what,
            project: permit.project().to_string(),
            actor: permit.actor().to_owned(),
            account: account.to_owned(),
            subject: subject.to_owned(),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: String::new(),
        }
    }
}
