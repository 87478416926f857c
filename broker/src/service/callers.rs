//! Callers as administrators see them, and who the caller of a call is.
//!
//! Never shows a key. Next: `create_caller`, `update_caller`, `revoke_caller`.

use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Time;
use crate::domain::caller::{Caller, CallerKey, ManageCallers, Right, Role};
use crate::domain::caller_identity::CallerIdentity;
use crate::domain::event::{Event, What};
use crate::domain::ids::ResourceId;
use crate::domain::mail::MailProtocol;
use crate::domain::secret::Secret;
use crate::service::{Error, Service};
use crate::store::{Page, PageRequest};

/// What a caller shall be.
#[derive(Clone, Debug)]
pub struct CallerDraft {
    /// Its id.
    pub id: ResourceId,
    /// For people.
    pub display_name: String,
    /// What kind of calls.
    pub role: Role,
    /// For services.
    pub rights: Vec<Right>,
    /// For adapters.
    pub protocols: Vec<MailProtocol>,
    /// From where.
    pub ip_ranges: Vec<IpNet>,
    /// What it may show instead of a key.
    pub identities: Vec<CallerIdentity>,
    /// For services: the least time between two tokens of one account.
    pub min_interval: Duration,
    /// Whether it gets a first key.
    pub with_key: bool,
    /// When that key ends.
    pub key_expires_at: Option<Time>,
}

/// What shall be different; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct CallerChange {
    /// For people.
    pub display_name: Option<String>,
    /// For services.
    pub rights: Option<Vec<Right>>,
    /// For adapters.
    pub protocols: Option<Vec<MailProtocol>>,
    /// From where.
    pub ip_ranges: Option<Vec<IpNet>>,
    /// What it may show instead of a key.
    pub identities: Option<Vec<CallerIdentity>>,
    /// For services: the least time between two tokens of one account.
    pub min_interval: Option<Duration>,
}

/// A caller with its keys.
#[derive(Clone, Debug)]
pub struct CallerView {
    /// The caller.
    pub caller: Caller,
    /// Its keys, hashed.
    pub keys: Vec<CallerKey>,
}

/// A caller with the key that was just made for it, if one was.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose it is.
    pub view: CallerView,
    /// The key, to be shown once.
    pub shown: Option<Secret>,
}

impl Service {
    /// One caller.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn caller(
        &self,
        permit: &ManageCallers,
        name: &ResourceId,
    ) -> Result<CallerView, Error> {
        let row = self.read().await?.caller_by_name(permit.manage().project(), name).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("caller {name}")))?;
        let caller = self.parts.sealer.admit(row)?;
        self.who_am_i(&caller).await
    }

    /// The callers of a project, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn callers(
        &self,
        permit: &ManageCallers,
        page: PageRequest,
    ) -> Result<Page<CallerView>, Error> {
        let found = self.read().await?.callers(permit.manage().project(), &page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for row in found.items {
            items.push(self.who_am_i(&self.parts.sealer.admit(row)?).await?);
        }
        Ok(Page { items, next_page_token: found.next_page_token })
    }

    /// What is known of the caller of this call.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn who_am_i(&self, caller: &Caller) -> Result<CallerView, Error> {
        let rows = self.read().await?.caller_keys(caller.id).await?;
        let admitted = rows.into_iter().map(|row| self.parts.sealer.admit(row));
        let keys = admitted.collect::<Result<Vec<_>, _>>()?;
        Ok(CallerView { caller: caller.clone(), keys })
    }

    /// An audit record about a caller.
    pub(super) fn caller_event(
        &self,
        permit: &ManageCallers,
        what: What,
        name: &ResourceId,
    ) -> Event {
        self.managed(permit.manage(), what, "", &format!("callers/{name}"))
    }
}
