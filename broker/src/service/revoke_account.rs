//! Revokes an account: here at once, and then at the provider.
//!
//! Never waits for the provider to forget: nothing is handed out from the moment this is stored, whatever the provider does.
//! The refresh token stays, sealed, for as long as the provider has to be told. Invariant: a revoked account comes back only by
//! a new consent. Next: `give_back` tells the provider.

use crate::domain::account::{Account, Standing};
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::failpoint;
use crate::service::accounts::AccountView;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service, changes};

impl Service {
    /// Revokes an account. The flag says whether the provider confirmed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_account(
        &self,
        permit: &Manage,
        name: &AccountName,
    ) -> Result<(AccountView, bool), Error> {
        let account = self.account_named(permit.project(), name).await?;
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.revoke(&permit, account).await }).await
    }

    pub(super) async fn revoke(
        &self,
        permit: &Manage,
        account: Account,
    ) -> Result<(AccountView, bool), Error> {
        let event = self.account_event(permit, What::AccountRevoked, &account);
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let target = (account.id, None);
        let account = self
            .write(move |tx| {
                Box::pin(async move {
                    let edit = |account: &mut Account| account.standing = Standing::Revoked;
                    let account = changes::edit_account(tx, &sealer, target, now, edit).await?;
                    tx.delete_access_tokens(account.id).await?;
                    let grants = tx.grants(account.id).await?;
                    if grants.iter().any(|grant| grant.refresh_token.is_some()) {
                        tx.begin_giving_back(account.id, now).await?;
                    } else {
                        tx.delete_grants(account.id).await?;
                    }
                    tx.forget_doubts(account.id).await?;
                    tx.append_audit(event).await?;
                    Ok(account)
                })
            })
            .await?;
        failpoint::reach("revoke.stored");
        // Here it is done, whatever goes wrong from now on.
        let confirmed = self.gave_back(&account).await;
        Ok((self.view_account(account).await?, confirmed))
    }
}
