//! Gives an account's grant back to the provider and forgets its tokens.
//!
//! Never waits for the provider to forget: here everything is gone first, so that nothing is handed out from the moment
//! this is answered, whatever the provider does. Invariant: a revoked account comes back only by a new consent.

use crate::domain::account::{Account, Standing};
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::grant::Grant;
use crate::failpoint;
use crate::providers::client::TokenKind;
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
        // Read in the transaction that forgets it: a refresh may have brought a newer one a moment ago.
        let (account, grant) = self
            .write(move |tx| {
                Box::pin(async move {
                    let edit = |account: &mut Account| account.standing = Standing::Revoked;
                    let account = changes::edit_account(tx, &sealer, target, now, edit).await?;
                    let grant = tx.current_grant(account.id).await?;
                    tx.delete_access_tokens(account.id).await?;
                    tx.delete_grants(account.id).await?;
                    tx.forget_doubts(account.id).await?;
                    tx.append_audit(event).await?;
                    Ok((account, grant))
                })
            })
            .await?;
        failpoint::reach("revoke.stored");
        // Here it is done, whatever goes wrong from now on.
        let confirmed = match grant {
            Some(grant) => {
                self.revoke_at_provider(&account, &grant).await.unwrap_or_else(|error| {
                    tracing::warn!(account = %account.name, %error, "a grant was not given back");
                    false
                })
            }
            None => false,
        };
        Ok((self.view_account(account).await?, confirmed))
    }

    async fn revoke_at_provider(&self, account: &Account, grant: &Grant) -> Result<bool, Error> {
        let Some(token) = self.refresh_token_of(grant)? else { return Ok(false) };
        let app = self.app(account.app).await?;
        let provider = self.resolve_for(&app, account)?;
        let auth = self.client_auth(&app).await?;
        let answer =
            self.parts.providers.revoke(&provider, &auth, &token, TokenKind::Refresh).await;
        Ok(answer.is_ok())
    }
}
