//! Registers an OAuth app: resolves it against its preset, discovers what the preset leaves open, pins it.
//!
//! Never stores an app that does not resolve. Invariant: endpoints are asked for once, here; what is pinned stays until an
//! operator changes it. Next: `create_consent`.

use url::Url;

use crate::clock::Time;
use crate::domain::app::{App, AppHealth, AppSecret, ClientAuthMethod, Endpoints};
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::ids::{AppId, AppSecretId, ResourceId};
use crate::domain::secret::Secret;
use crate::service::{AppDraft, AppView, Error, Service, places};

impl Service {
    /// Registers an app, with its first client secret.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field, [`Error::AlreadyExists`] if the id is taken.
    pub async fn create_app(
        &self,
        permit: &Manage,
        draft: AppDraft,
        secret: Option<(Secret, Option<Time>)>,
    ) -> Result<AppView, Error> {
        let preset = self.parts.presets.find(&draft.preset);
        let preset = preset.map_err(|unknown| Error::invalid("app.preset", unknown.to_string()))?;
        if draft.client_id.is_empty() || draft.client_id.len() > 512 {
            return Err(Error::invalid(
                "app.client_id",
                "use the id the provider gave, at most 512 bytes",
            ));
        }
        if secret.is_some() && draft.client_auth == Some(ClientAuthMethod::None) {
            let remedy = "a client with client_auth_method NONE has none: leave it out";
            return Err(Error::invalid("client_secret", remedy));
        }
        if preset.fixes_endpoints() && draft.endpoints != Endpoints::default() {
            let remedy = "only the preset `custom` takes endpoints";
            return Err(Error::invalid("app.endpoints", remedy));
        }
        if secret.is_none()
            && draft.client_auth != Some(ClientAuthMethod::None)
            && preset.wants_secret()
        {
            let remedy =
                "give the client secret, or say that the client has none (client_auth_method NONE)";
            return Err(Error::invalid("client_secret", remedy));
        }
        check_return_uris(&draft.return_uris)?;
        let name = match draft.id.clone() {
            Some(id) => id,
            None => self.free_name(permit, &draft.preset).await?,
        };
        let app = self.new_app(permit, draft, name);
        let app = self.discovered(app).await?;
        self.check_resolves(&app)?;
        let secret = secret.map(|secret| self.sealed_secret(app.id, secret, true)).transpose()?;
        let event = self.app_event(permit, What::AppCreated, &app.name);
        let (row, exists) = (self.parts.sealer.guard(app.clone()), format!("app {}", app.name));
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_app(&row).await?;
                if let Some(secret) = &secret {
                    tx.insert_app_secret(secret).await?;
                }
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
        .map_err(|error| named(error, &exists))?;
        self.view_app(app).await
    }

    /// Fills in what the issuer's metadata says, where the preset is discovered.
    async fn discovered(&self, app: App) -> Result<App, Error> {
        if !self.preset(&app)?.needs_issuer || !app.endpoints.token.is_empty() {
            return Ok(app);
        }
        if Url::parse(&app.authority).is_err() {
            let remedy = "give the issuer's URL, such as https://id.example.com";
            return Err(Error::invalid("app.authority", remedy));
        }
        let found = self.parts.providers.discover(&app.authority).await;
        let found = found.map_err(|error| Error::invalid("app.authority", error.to_string()))?;
        Ok(App { endpoints: found.endpoints, ..app })
    }

    /// Refuses settings that do not make a provider.
    pub(super) fn check_resolves(&self, app: &App) -> Result<(), Error> {
        let preset = self.preset(app)?;
        let resolved = preset.resolve(app, None, self.parts.providers.addresses());
        resolved.map(drop).map_err(|error| Error::invalid(error.field(), error.to_string()))
    }

    /// A client secret, sealed for its row.
    pub(super) fn sealed_secret(
        &self,
        app: AppId,
        (secret, expires_at): (Secret, Option<Time>),
        active: bool,
    ) -> Result<AppSecret, Error> {
        if secret.is_empty() || secret.len() > 4096 {
            return Err(Error::invalid("client_secret", "use 1 to 4096 bytes"));
        }
        let now = self.parts.clock.now();
        let id = AppSecretId::new(now, &self.parts.entropy);
        let sealed = self.parts.sealer.seal(&places::client_secret(id, app), &secret)?;
        Ok(AppSecret { id, app, sealed, active, created_at: now, expires_at })
    }

    fn new_app(&self, permit: &Manage, draft: AppDraft, name: ResourceId) -> App {
        let now = self.parts.clock.now();
        App {
            id: AppId::new(now, &self.parts.entropy),
            project: permit.project().clone(),
            name,
            display_name: draft.display_name,
            preset: draft.preset,
            authority: draft.authority,
            client_id: draft.client_id,
            client_auth: draft.client_auth,
            endpoints: draft.endpoints,
            base_scopes: draft.base_scopes,
            extra_scopes: draft.extra_scopes,
            skip_scopes: draft.skip_scopes,
            mail_hosts: draft.mail_hosts,
            return_uris: draft.return_uris,
            rotation: draft.rotation,
            disabled: draft.disabled,
            health: AppHealth::Unknown,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The preset's name, with a number if it is taken.
    async fn free_name(&self, permit: &Manage, preset: &str) -> Result<ResourceId, Error> {
        let mut conn = self.read().await?;
        for number in 1..=99 {
            let text = if number == 1 { preset.to_owned() } else { format!("{preset}-{number}") };
            let name = ResourceId::parse(&text).map_err(Error::ours)?;
            if conn.app_by_name(permit.project(), &name).await?.is_none() {
                return Ok(name);
            }
        }
        Err(Error::invalid("app_id", "give one: all the usual ones are taken"))
    }
}

/// Return addresses: few, whole, https or on loopback.
pub(super) fn check_return_uris(uris: &[String]) -> Result<(), Error> {
    let good = |text: &String| {
        Url::parse(text).is_ok_and(|url| {
            let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            (url.scheme() == "https" || (url.scheme() == "http" && local))
                && url.fragment().is_none()
        })
    };
    let plain = |text: &String| text.len() <= 2048 && !text.contains(char::is_control);
    if uris.len() <= 16 && uris.iter().all(|uri| plain(uri) && good(uri)) {
        return Ok(());
    }
    Err(Error::invalid("app.return_uris", "use at most 16 https URLs (http only for localhost)"))
}

/// Says which thing exists already.
pub(super) fn named(error: Error, what: &str) -> Error {
    match error {
        Error::AlreadyExists(_) => Error::AlreadyExists(what.to_owned()),
        other => other,
    }
}
