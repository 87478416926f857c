//! Changes a caller's rights, protocols or networks.
//!
//! Never changes its role: keys were given out for that one.

use crate::domain::caller::{Caller, ManageCallers};
use crate::domain::event::What;
use crate::domain::ids::ResourceId;
use crate::service::callers::{CallerChange, CallerDraft, CallerView};
use crate::service::create_caller::check_role;
use crate::service::{Error, Service, changes};

impl Service {
    /// Changes a caller; `version` is the one its editor saw, if they care.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`] if it was changed meanwhile.
    pub async fn update_caller(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
        change: CallerChange,
        version: Option<i64>,
    ) -> Result<CallerView, Error> {
        let view = self.caller(permit, name).await?;
        let mut trial = view.caller.clone();
        apply(&mut trial, change.clone());
        check_role(trial.role, &as_draft(trial.clone()))?;
        if let Some(identities) = &change.identities {
            self.check_identities(identities, Some(view.caller.id)).await?;
        }
        let event = self.caller_event(permit, What::CallerUpdated, name);
        let sealer = self.parts.sealer.clone();
        let target = (view.caller.id, version);
        self.write(move |tx| {
            Box::pin(async move {
                let edit = |caller: &mut Caller| apply(caller, change);
                changes::edit_caller(tx, &sealer, target, edit).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        self.caller(permit, name).await
    }
}

fn apply(caller: &mut Caller, change: CallerChange) {
    if let Some(display_name) = change.display_name {
        caller.display_name = display_name;
    }
    if let Some(rights) = change.rights {
        caller.rights = rights;
    }
    if let Some(protocols) = change.protocols {
        caller.protocols = protocols;
    }
    if let Some(ip_ranges) = change.ip_ranges {
        caller.ip_ranges = ip_ranges;
    }
    if let Some(identities) = change.identities {
        caller.identities = identities;
    }
    if let Some(min_interval) = change.min_interval {
        caller.min_interval = min_interval;
    }
}

fn as_draft(caller: Caller) -> CallerDraft {
    CallerDraft {
        id: caller.name,
        display_name: caller.display_name,
        role: caller.role,
        rights: caller.rights,
        protocols: caller.protocols,
        ip_ranges: caller.ip_ranges,
        identities: caller.identities,
        min_interval: caller.min_interval,
        with_key: false,
        key_expires_at: None,
    }
}
