//! Ends a caller, or one of its keys; removes a caller that has ended.
//!
//! Never a call after the answer: key and caller are read at each call (promise P1). Invariant: an administrator cannot end
//! the caller they are calling as, so nobody locks the last one out by accident.

use crate::domain::caller::{Caller, CallerKey, ManageCallers};
use crate::domain::event::{Event, What};
use crate::domain::guarded::Rights;
use crate::domain::ids::ResourceId;
use crate::service::callers::CallerView;
use crate::service::{Error, Service, changes};
use crate::store;

impl Service {
    /// Revokes a caller with all its keys.
    ///
    /// # Errors
    /// [`Error::InUse`] for the caller of this very call.
    pub async fn revoke_caller(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
    ) -> Result<CallerView, Error> {
        let view = self.caller(permit, name).await?;
        if view.caller.resource_name() == permit.manage().actor() {
            return Err(Error::InUse(
                "this is the caller you are calling as: use another".to_owned(),
            ));
        }
        if view.caller.revoked_at.is_some() {
            return Ok(view);
        }
        let event = self.caller_event(permit, What::CallerRevoked, name);
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let target = (view.caller.id, None);
        self.write(move |tx| {
            Box::pin(async move {
                let edit = |caller: &mut Caller| caller.revoked_at = Some(now);
                changes::edit_caller(tx, &sealer, target, edit).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        self.caller(permit, name).await
    }

    /// Revokes one key of a caller. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the caller has no such key.
    pub async fn revoke_caller_key(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
        key: &str,
    ) -> Result<CallerView, Error> {
        let view = self.caller(permit, name).await?;
        let row = self.read().await?.caller_key(key).await?;
        let row = row.map(|row| self.parts.sealer.admit(row)).transpose()?;
        match row.filter(|row| row.caller == view.caller.id) {
            None => return Err(Error::NotFound(format!("key {key} of caller {name}"))),
            Some(row) if row.revoked_at.is_some() => return Ok(view),
            Some(_) => {}
        }
        let event = self.caller_event(permit, What::CallerKeyRevoked, name);
        let event = Event { detail: key.to_owned(), ..event };
        let (sealer, now, key) =
            (self.parts.sealer.clone(), self.parts.clock.now(), key.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let stale = store::Error::Stale { what: CallerKey::TABLE };
                let row = tx.caller_key(&key).await?.ok_or(stale)?;
                let mut row = changes::admit(&sealer, row)?;
                row.revoked_at.get_or_insert(now);
                tx.update_caller_key(&sealer.guard(row)).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        self.caller(permit, name).await
    }

    /// Removes a caller that was revoked.
    ///
    /// # Errors
    /// [`Error::InUse`] while it is not.
    pub async fn delete_caller(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
    ) -> Result<(), Error> {
        let view = self.caller(permit, name).await?;
        if view.caller.revoked_at.is_none() {
            return Err(Error::InUse(format!("caller {name} still works: revoke it first")));
        }
        let event = self.caller_event(permit, What::CallerDeleted, name);
        self.write(move |tx| {
            Box::pin(async move {
                tx.delete_caller(view.caller.id).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }
}
