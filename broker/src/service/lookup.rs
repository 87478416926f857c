//! Finding accounts, apps and their secrets by any of their names, checked.
//!
//! Never decides who may: what it finds is for a permit to judge. Invariant: a row that grants rights leaves this file only
//! after its keyed hash was checked. Next: the verbs.

use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::ids::{AccountId, AppId, Mailbox, ProjectId, ResourceId};
use crate::domain::secret::Secret;
use crate::memory::{AppAtHand, Seen};
use crate::service::{Error, Service, places};
use crate::store::Conn;

/// An account by one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountName {
    /// Its id for people.
    Id(ResourceId),
    /// Its mailbox.
    Mailbox(Mailbox),
}

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

impl Service {
    /// The account of this name, if there is one.
    pub(super) async fn find_account(
        &self,
        project: &ProjectId,
        name: &AccountName,
    ) -> Result<Option<Account>, Error> {
        let mut conn = self.read().await?;
        let row = match name {
            AccountName::Id(id) => conn.account_by_name(project, id).await?,
            AccountName::Mailbox(mailbox) => conn.account_by_mailbox(project, mailbox).await?,
        };
        Ok(row.map(|row| self.parts.sealer.admit(row)).transpose()?)
    }

    /// The same for a decision: it may be remembered.
    pub(super) async fn known_account(
        &self,
        project: &ProjectId,
        name: &AccountName,
    ) -> Result<Option<Seen<Account>>, Error> {
        Ok(match name {
            AccountName::Id(id) => self.memory.account_by_name(project, id).await?,
            AccountName::Mailbox(mailbox) => {
                self.memory.account_by_mailbox(project, mailbox).await?
            }
        })
    }

    /// The app of this row, for a decision: it may be remembered.
    pub(super) async fn known_app(&self, id: AppId) -> Result<Seen<AppAtHand>, Error> {
        let app = self.memory.app(id).await?;
        app.ok_or_else(|| Error::NotFound("app of this id".to_owned()))
    }

    /// The account of this name, for a manager.
    pub(super) async fn account_named(
        &self,
        project: &ProjectId,
        name: &AccountName,
    ) -> Result<Account, Error> {
        let found = self.find_account(project, name).await?;
        found.ok_or_else(|| Error::NotFound(format!("account {}", name.as_str())))
    }

    /// The account of this row.
    pub(super) async fn account(&self, id: AccountId) -> Result<Account, Error> {
        self.account_on(&mut self.read().await?, id).await
    }

    /// The same over a connection that is at hand.
    pub(super) async fn account_on(
        &self,
        conn: &mut Conn,
        id: AccountId,
    ) -> Result<Account, Error> {
        let row = conn.account(id).await?;
        let row = row.ok_or_else(|| Error::NotFound("account of this id".to_owned()))?;
        Ok(self.parts.sealer.admit(row)?)
    }

    /// The app of this name, for a manager.
    pub(super) async fn app_named(
        &self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<App, Error> {
        let row = self.read().await?.app_by_name(project, name).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("app {name}")))?;
        Ok(self.parts.sealer.admit(row)?)
    }

    /// The app of this row.
    pub(super) async fn app(&self, id: AppId) -> Result<App, Error> {
        self.app_on(&mut self.read().await?, id).await
    }

    /// The same over a connection that is at hand.
    pub(super) async fn app_on(&self, conn: &mut Conn, id: AppId) -> Result<App, Error> {
        let row = conn.app(id).await?;
        let row = row.ok_or_else(|| Error::NotFound("app of this id".to_owned()))?;
        Ok(self.parts.sealer.admit(row)?)
    }

    /// The client secret in use, opened; `None` for a public client.
    pub(super) async fn client_secret(
        &self,
        conn: &mut Conn,
        app: AppId,
    ) -> Result<Option<Secret>, Error> {
        let secrets = conn.app_secrets(app).await?;
        let Some(active) = secrets.into_iter().find(|secret| secret.active) else {
            return Ok(None);
        };
        let place = places::client_secret(active.id, app);
        Ok(Some(self.parts.sealer.open(&place, &active.sealed)?))
    }
}
