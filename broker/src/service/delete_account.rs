//! Removes an account with its tokens and credentials.
//!
//! Never leaves the grant behind at the provider without trying to give it back first.

use crate::domain::account::{Account, Standing};
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};

impl Service {
    /// Removes an account; `version` is the one its editor saw, if they care.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::EtagMismatch`].
    pub async fn delete_account(
        &self,
        permit: &Manage,
        name: &AccountName,
        version: Option<i64>,
    ) -> Result<(), Error> {
        let account = self.account_named(permit.project(), name).await?;
        if version.is_some_and(|version| version != account.version) {
            return Err(Error::EtagMismatch);
        }
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.delete(&permit, account).await }).await
    }

    async fn delete(&self, permit: &Manage, account: Account) -> Result<(), Error> {
        let id = account.id;
        if account.standing != Standing::Revoked {
            self.revoke(permit, account).await?;
        } else {
            self.gave_back(&account).await;
        }
        let account = self.account(id).await?;
        let event = self.account_event(permit, What::AccountDeleted, &account);
        self.write(move |tx| {
            Box::pin(async move {
                tx.delete_account(account.id, account.version).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }
}
