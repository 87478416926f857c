//! Makes callers and their API keys; shows a key once.
//!
//! Never stores a key: only its keyed hash. Invariant: a caller's role is fixed when it is made.

use crate::clock::Time;
use crate::domain::caller::{Caller, CallerKey, ManageCallers, Role};
use crate::domain::event::{Event, What};
use crate::domain::ids::{CallerId, CallerKeyId, ProjectId, ResourceId};
use crate::domain::secret::Secret;
use crate::seal::credential::{Generated, Kind};
use crate::service::callers::{CallerDraft, CallerView, NewKey};
use crate::service::create_app::named;
use crate::service::{Error, Service};

impl Service {
    /// Makes a caller and its first key.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the id is taken; [`Error::Invalid`] for rights that do not fit the role.
    pub async fn create_caller(
        &self,
        permit: &ManageCallers,
        draft: CallerDraft,
    ) -> Result<NewKey, Error> {
        let event = self.caller_event(permit, What::CallerCreated, &draft.id);
        self.insert_caller(permit.manage().project().clone(), draft, event).await
    }

    /// Makes the first administrator of a new store. Refused where there is a caller already.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`].
    pub async fn create_first_admin(&self, name: ResourceId) -> Result<NewKey, Error> {
        let project = ProjectId::default_project();
        let first =
            self.read().await?.callers(&project, &crate::store::PageRequest::first()).await?;
        if !first.items.is_empty() {
            return Err(Error::AlreadyExists("an administrator".to_owned()));
        }
        let draft = CallerDraft {
            id: name,
            display_name: "First administrator".to_owned(),
            role: Role::Admin,
            rights: Vec::new(),
            protocols: Vec::new(),
            ip_ranges: Vec::new(),
            key_expires_at: None,
        };
        let event = Event {
            at: self.parts.clock.now(),
            what: What::CallerCreated,
            project: project.to_string(),
            actor: "init".to_owned(),
            account: String::new(),
            subject: format!("callers/{}", draft.id),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: String::new(),
        };
        self.insert_caller(project, draft, event).await
    }

    /// Adds a key to a caller.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InUse`] for a caller that was revoked.
    pub async fn create_caller_key(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
        expires_at: Option<Time>,
    ) -> Result<NewKey, Error> {
        let view = self.caller(permit, name).await?;
        if view.caller.revoked_at.is_some() {
            return Err(Error::InUse(format!("caller {name} was revoked: make another")));
        }
        let (key, shown) = self.new_key(view.caller.id, expires_at);
        let event = self.caller_event(permit, What::CallerKeyCreated, name);
        let event = Event { detail: key.key.clone(), ..event };
        let row = self.parts.sealer.guard(key);
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_caller_key(&row).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        let view = self.caller(permit, name).await?;
        Ok(NewKey { view, shown })
    }

    async fn insert_caller(
        &self,
        project: ProjectId,
        draft: CallerDraft,
        event: Event,
    ) -> Result<NewKey, Error> {
        check_role(draft.role, &draft)?;
        let now = self.parts.clock.now();
        let exists = format!("caller {}", draft.id);
        let caller = Caller {
            id: CallerId::new(now, &self.parts.entropy),
            project,
            name: draft.id,
            display_name: draft.display_name,
            role: draft.role,
            rights: draft.rights,
            protocols: draft.protocols,
            ip_ranges: draft.ip_ranges,
            revoked_at: None,
            version: 1,
            created_at: now,
        };
        let (key, shown) = self.new_key(caller.id, draft.key_expires_at);
        let row = self.parts.sealer.guard(caller.clone());
        let key_row = self.parts.sealer.guard(key.clone());
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_caller(&row).await?;
                tx.insert_caller_key(&key_row).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
        .map_err(|error| named(error, &exists))?;
        Ok(NewKey { view: CallerView { caller, keys: vec![key] }, shown })
    }

    fn new_key(&self, caller: CallerId, expires_at: Option<Time>) -> (CallerKey, Secret) {
        let now = self.parts.clock.now();
        let generated = Generated::new(Kind::ApiKey, &self.parts.entropy);
        let hash = self.parts.sealer.hash(Kind::ApiKey, &generated.id, &generated.secret);
        let key = CallerKey {
            id: CallerKeyId::new(now, &self.parts.entropy),
            key: generated.id.to_string(),
            caller,
            secret_hash: hash.as_bytes().to_vec(),
            expires_at,
            revoked_at: None,
            created_at: now,
            last_used_at: None,
        };
        (key, generated.shown)
    }
}

/// Rights are for services and protocols for adapters: elsewhere they would mean nothing and look as if they did.
pub(super) fn check_role(role: Role, draft: &CallerDraft) -> Result<(), Error> {
    if role != Role::Service && !draft.rights.is_empty() {
        return Err(Error::invalid("caller.rights", "only a SERVICE has rights"));
    }
    if role != Role::Adapter && !draft.protocols.is_empty() {
        return Err(Error::invalid("caller.protocols", "only an ADAPTER has protocols"));
    }
    if role == Role::Adapter && draft.protocols.is_empty() {
        return Err(Error::invalid("caller.protocols", "name at least one of IMAP, SMTP and POP3"));
    }
    Ok(())
}
