//! Changes or removes an OAuth app.
//!
//! Never changes preset or id: consents were given to those. Invariant: a change that does not resolve changes nothing.

use crate::domain::app::App;
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::ids::ResourceId;
use crate::service::create_app::check_return_uris;
use crate::service::{AppChange, AppView, Error, Service, changes};

impl Service {
    /// Changes an app; `version` is the one its editor saw, if they care.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field, [`Error::EtagMismatch`] if it was changed meanwhile.
    pub async fn update_app(
        &self,
        permit: &Manage,
        name: &ResourceId,
        change: AppChange,
        version: Option<i64>,
    ) -> Result<AppView, Error> {
        let app = self.app_named(permit.project(), name).await?;
        if change.endpoints.is_some() && self.preset(&app)?.fixes_endpoints() {
            let remedy = "only the preset `custom` takes endpoints; register another app";
            return Err(Error::invalid("app.endpoints", remedy));
        }
        check_return_uris(change.return_uris.as_deref().unwrap_or_default())?;
        let mut trial = app.clone();
        apply(&mut trial, change.clone());
        self.check_resolves(&trial)?;
        // Whoever saw no version gets the one this check was made for.
        let target = (app.id, Some(version.unwrap_or(app.version)));
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let event = self.app_event(permit, What::AppUpdated, &app.name);
        let app = self
            .write(move |tx| {
                Box::pin(async move {
                    let edit = |app: &mut App| apply(app, change);
                    let app = changes::edit_app(tx, &sealer, target, now, edit).await?;
                    tx.append_audit(event).await?;
                    Ok(app)
                })
            })
            .await?;
        self.view_app(app).await
    }

    /// Removes an app that no account uses.
    ///
    /// # Errors
    /// [`Error::InUse`] while accounts use it.
    pub async fn delete_app(
        &self,
        permit: &Manage,
        name: &ResourceId,
        version: Option<i64>,
    ) -> Result<(), Error> {
        let app = self.app_named(permit.project(), name).await?;
        let version = version.unwrap_or(app.version);
        let event = self.app_event(permit, What::AppDeleted, &app.name);
        let deleted = self.write(move |tx| {
            Box::pin(async move {
                tx.delete_app(app.id, version).await?;
                tx.append_audit(event).await.map(drop)
            })
        });
        deleted.await.map_err(|error| match error {
            Error::InUse(_) => {
                Error::InUse(format!("accounts still use app {name}: revoke and delete them first"))
            }
            other => other,
        })
    }
}

fn apply(app: &mut App, change: AppChange) {
    fn set<T>(field: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *field = value;
        }
    }
    set(&mut app.display_name, change.display_name);
    set(&mut app.client_id, change.client_id);
    set(&mut app.client_auth, change.client_auth);
    set(&mut app.endpoints, change.endpoints);
    set(&mut app.base_scopes, change.base_scopes);
    set(&mut app.extra_scopes, change.extra_scopes);
    set(&mut app.skip_scopes, change.skip_scopes);
    set(&mut app.mail_hosts, change.mail_hosts);
    set(&mut app.return_uris, change.return_uris);
    set(&mut app.rotation, change.rotation);
    set(&mut app.disabled, change.disabled);
}
