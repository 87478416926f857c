//! Client secrets of an app: add the next before the last one ends, put it in use, forget the old one.
//!
//! Never returns a secret. Invariant: at most one is in use; putting one in use forgets what the provider thought of the last, so that the app's accounts go on by themselves.

use crate::clock::Time;
use crate::domain::app::AppHealth;
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::ids::{AppSecretId, ResourceId};
use crate::domain::refresh::AppGate;
use crate::domain::secret::Secret;
use crate::service::{AppView, Error, Service};

/// A client secret to add.
#[derive(Clone, Debug)]
pub struct NewAppSecret {
    /// The secret.
    pub secret: Secret,
    /// When the provider will stop taking it.
    pub expires_at: Option<Time>,
    /// Whether to put it in use at once.
    pub active: bool,
}

impl Service {
    /// Adds a client secret.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is empty or too long.
    pub async fn add_app_secret(
        &self,
        permit: &Manage,
        name: &ResourceId,
        new: NewAppSecret,
    ) -> Result<AppView, Error> {
        let app = self.app_named(permit.project(), name).await?;
        let secret = self.sealed_secret(app.id, (new.secret, new.expires_at), new.active)?;
        let event = self.app_event(permit, What::AppUpdated, name);
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_app_secret(&secret).await?;
                if secret.active {
                    tx.set_app_health(secret.app, &AppHealth::Unknown).await?;
                    tx.set_app_gate(secret.app, AppGate::Open).await?;
                }
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        self.app_view(permit, name).await
    }

    /// Puts a kept secret in use.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the app has no such secret.
    pub async fn activate_app_secret(
        &self,
        permit: &Manage,
        name: &ResourceId,
        secret: AppSecretId,
    ) -> Result<AppView, Error> {
        let app = self.app_named(permit.project(), name).await?;
        let event = self.app_event(permit, What::AppUpdated, name);
        let activated = self.write(move |tx| {
            Box::pin(async move {
                tx.activate_app_secret(app.id, secret).await?;
                tx.set_app_health(app.id, &AppHealth::Unknown).await?;
                tx.set_app_gate(app.id, AppGate::Open).await?;
                tx.append_audit(event).await.map(drop)
            })
        });
        activated.await.map_err(|error| match error {
            Error::EtagMismatch => Error::NotFound(format!("secret {secret} of app {name}")),
            other => other,
        })?;
        self.app_view(permit, name).await
    }

    /// Forgets a secret that is not in use.
    ///
    /// # Errors
    /// [`Error::InUse`] if it is in use or not there.
    pub async fn remove_app_secret(
        &self,
        permit: &Manage,
        name: &ResourceId,
        secret: AppSecretId,
    ) -> Result<AppView, Error> {
        let app = self.app_named(permit.project(), name).await?;
        let event = self.app_event(permit, What::AppUpdated, name);
        let gone = self
            .write(move |tx| {
                Box::pin(async move {
                    let gone = tx.delete_app_secret(app.id, secret).await?;
                    if gone {
                        tx.append_audit(event).await?;
                    }
                    Ok(gone)
                })
            })
            .await?;
        if !gone {
            let words =
                "this secret is in use, or there is none of this id: put another in use first";
            return Err(Error::InUse(words.to_owned()));
        }
        self.app_view(permit, name).await
    }
}
