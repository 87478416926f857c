//! Makes callers and their API keys; shows a key once.
//!
//! Never stores a key: only its keyed hash. Invariant: a caller's role is fixed when it is made.

use std::time::Duration;

use crate::clock::Time;
use crate::domain::caller::{Caller, CallerKey, ManageCallers, Role};
use crate::domain::caller_identity::CallerIdentity;
use crate::domain::event::{Event, What};
use crate::domain::ids::{CallerId, CallerKeyId, ProjectId, ResourceId};
use crate::domain::secret::Secret;
use crate::seal::credential::{Generated, Kind};
use crate::service::callers::{CallerDraft, CallerView, NewKey};
use crate::service::create_app::named;
use crate::service::{Error, Service};

/// The most callers with patterns for tokens of one issuer: a call looks at all of them.
const MOST_PATTERNS: usize = 256;

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
            identities: Vec::new(),
            min_interval: Duration::ZERO,
            with_key: true,
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
        Ok(NewKey { view, shown: Some(shown) })
    }

    async fn insert_caller(
        &self,
        project: ProjectId,
        draft: CallerDraft,
        event: Event,
    ) -> Result<NewKey, Error> {
        check_role(draft.role, &draft)?;
        if !draft.with_key && draft.identities.is_empty() {
            let remedy = "name what it shows instead of a key, or let it have one";
            return Err(Error::invalid("caller.identities", remedy));
        }
        self.check_identities(&draft.identities, None).await?;
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
            identities: draft.identities,
            min_interval: draft.min_interval,
            revoked_at: None,
            version: 1,
            created_at: now,
        };
        let made = draft.with_key.then(|| self.new_key(caller.id, draft.key_expires_at));
        let (key, shown) = made.unzip();
        let row = self.parts.sealer.guard(caller.clone());
        let key_row = key.clone().map(|key| self.parts.sealer.guard(key));
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_caller(&row).await?;
                if let Some(key) = &key_row {
                    tx.insert_caller_key(key).await?;
                }
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
        .map_err(|error| named(error, &exists))?;
        Ok(NewKey { view: CallerView { caller, keys: key.into_iter().collect() }, shown })
    }

    /// Refuses a certificate's name that another caller has, and more patterns of one issuer than a call can look at. Two
    /// that were made in the same moment are refused at the door instead.
    pub(super) async fn check_identities(
        &self,
        identities: &[CallerIdentity],
        own: Option<CallerId>,
    ) -> Result<(), Error> {
        let mut conn = self.read().await?;
        for identity in identities {
            let found = conn.callers_known_by(&[identity.lookup()]).await?;
            let others = found.iter().filter(|row| Some(row.unchecked().id) != own).count();
            if identity.is_exclusive() && others > 0 {
                let remedy =
                    format!("{identity} is another caller's: revoke that, or take it away");
                return Err(Error::invalid("caller.identities", remedy));
            }
            if others >= MOST_PATTERNS {
                let remedy = "256 callers have patterns of this issuer: name the subject exactly";
                return Err(Error::invalid("caller.identities", remedy));
            }
        }
        Ok(())
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
    if role != Role::Service && !draft.min_interval.is_zero() {
        return Err(Error::invalid("caller.min_interval", "only a SERVICE has one"));
    }
    if role == Role::Adapter && draft.protocols.is_empty() {
        return Err(Error::invalid("caller.protocols", "name at least one of IMAP, SMTP and POP3"));
    }
    Ok(())
}
