//! Ends a proxy credential, and removes one that has ended.
//!
//! Never a login after the answer: the row is read at each login, and it says revoked from the commit on (promise P1).

use crate::domain::caller::Manage;
use crate::domain::credential::CredentialState;
use crate::domain::event::What;
use crate::service::credentials::CredentialView;
use crate::service::{Error, Service, changes};

impl Service {
    /// Revokes a credential. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_credential(
        &self,
        permit: &Manage,
        key: &str,
    ) -> Result<CredentialView, Error> {
        let view = self.credential(permit, key).await?;
        if view.credential.revoked_at.is_some() {
            return Ok(view);
        }
        let event = self.credential_event(permit, What::CredentialRevoked, &view);
        let (sealer, now, key) =
            (self.parts.sealer.clone(), self.parts.clock.now(), key.to_owned());
        let credential = self
            .write(move |tx| {
                Box::pin(async move {
                    let revoked =
                        changes::edit_credential(tx, &sealer, (key, None), |credential| {
                            credential.revoked_at = Some(now);
                        })
                        .await?;
                    tx.append_audit(event).await?;
                    Ok(revoked)
                })
            })
            .await?;
        Ok(CredentialView { credential, ..view })
    }

    /// Removes a credential that was revoked or has expired.
    ///
    /// # Errors
    /// [`Error::InUse`] while it works.
    pub async fn delete_credential(&self, permit: &Manage, key: &str) -> Result<(), Error> {
        let view = self.credential(permit, key).await?;
        let state = view.credential.state(self.parts.clock.now());
        if matches!(state, CredentialState::Active | CredentialState::Rotating) {
            return Err(Error::InUse(format!("credential {key} still works: revoke it first")));
        }
        let event = self.credential_event(permit, What::CredentialDeleted, &view);
        self.write(move |tx| {
            Box::pin(async move {
                tx.delete_credential(view.credential.id).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }
}
