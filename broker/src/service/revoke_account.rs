//! Gives an account's grant back to the provider and forgets its tokens.
//!
//! Never waits for the provider to forget: here everything is gone first, so that nothing is handed out from the moment
//! this is answered, whatever the provider does. Invariant: a revoked account comes back only by a new consent.

use crate::domain::account::{Account, Standing};
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::secret::Secret;
use crate::providers::client::TokenKind;
use crate::service::accounts::AccountView;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service, changes, places};

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

    async fn revoke(
        &self,
        permit: &Manage,
        account: Account,
    ) -> Result<(AccountView, bool), Error> {
        let refresh_token = self.current_refresh_token(&account).await?;
        let event = self.account_event(permit, What::AccountRevoked, &account);
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let target = (account.id, None);
        let account = self
            .write(move |tx| {
                Box::pin(async move {
                    let edit = |account: &mut Account| account.standing = Standing::Revoked;
                    let account = changes::edit_account(tx, &sealer, target, now, edit).await?;
                    tx.delete_access_tokens(account.id).await?;
                    tx.delete_grants(account.id).await?;
                    tx.append_audit(event).await?;
                    Ok(account)
                })
            })
            .await?;
        let confirmed = match refresh_token {
            Some(token) => self.revoke_at_provider(&account, &token).await?,
            None => false,
        };
        Ok((self.view_account(account).await?, confirmed))
    }

    /// The refresh token in use, opened.
    async fn current_refresh_token(&self, account: &Account) -> Result<Option<Secret>, Error> {
        let grant = self.read().await?.current_grant(account.id).await?;
        let Some((grant, sealed)) = grant.and_then(|it| it.refresh_token.clone().map(|s| (it, s)))
        else {
            return Ok(None);
        };
        let place = places::refresh_token(grant.id, grant.generation);
        Ok(Some(self.parts.sealer.open(&place, &sealed)?))
    }

    async fn revoke_at_provider(&self, account: &Account, token: &Secret) -> Result<bool, Error> {
        let app = self.app(account.app).await?;
        let provider = self.resolve_for(&app, account)?;
        let auth = self.client_auth(&app).await?;
        let answer = self.parts.providers.revoke(&provider, &auth, token, TokenKind::Refresh).await;
        Ok(answer.is_ok())
    }
}
