//! Replaces a proxy credential by a successor with the same rights; the old one works on for a while.
//!
//! Never prolongs the old one: it ends at the end of the overlap or at its own end, whichever is sooner. Invariant: both
//! changes are one transaction, so there is always one that works.

use std::time::Duration;

use crate::domain::caller::Manage;
use crate::domain::credential::CredentialState;
use crate::domain::event::{Event, What};
use crate::service::credentials::{CredentialView, NewCredential};
use crate::service::{CredentialDraft, Error, Service, changes};

impl Service {
    /// Rotates a credential: the successor with its secret, and the old one.
    ///
    /// # Errors
    /// [`Error::InUse`] if it was rotated already or has ended, [`Error::EtagMismatch`] if it was changed meanwhile.
    pub async fn rotate_credential(
        &self,
        permit: &Manage,
        key: &str,
        overlap: Duration,
    ) -> Result<(NewCredential, CredentialView), Error> {
        let old = self.credential(permit, key).await?;
        let now = self.parts.clock.now();
        if old.credential.state(now) != CredentialState::Active {
            let words =
                format!("credential {key} was rotated already or has ended: create a new one");
            return Err(Error::InUse(words));
        }
        let draft = CredentialDraft {
            description: old.credential.description.clone(),
            protocols: old.credential.protocols.clone(),
            ip_ranges: old.credential.ip_ranges.clone(),
            limits: old.credential.limits,
            expires_at: old.credential.expires_at,
        };
        let made = self.new_credential(old.account.clone(), draft);
        let end = now.after(overlap);
        let end = old.credential.expires_at.map_or(end, |own| own.min(end));
        let event = self.credential_event(permit, What::CredentialRotated, &old);
        let successor = made.view.credential.key.clone();
        let event = Event { detail: successor.clone(), ..event };
        let row = self.parts.sealer.guard(made.view.credential.clone());
        // The version that was looked at: of two rotations one wins, and a revocation is not rotated away.
        let (sealer, target) =
            (self.parts.sealer.clone(), (key.to_owned(), Some(old.credential.version)));
        let previous = self
            .write(move |tx| {
                Box::pin(async move {
                    tx.insert_credential(&row).await?;
                    let previous = changes::edit_credential(tx, &sealer, target, |credential| {
                        credential.successor = successor;
                        credential.expires_at = Some(end);
                    })
                    .await?;
                    tx.append_audit(event).await?;
                    Ok(previous)
                })
            })
            .await?;
        let previous = CredentialView { credential: previous, account: old.account };
        Ok((made, previous))
    }
}
