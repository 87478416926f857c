//! Accounts as managers see them, and switching them off and on.
//!
//! Never shows a token. Next: `update_account`, `revoke_account`, `delete_account`.

use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::caller::Manage;
use crate::domain::chart::Chart;
use crate::domain::event::{Event, What};
use crate::domain::grant::AccessToken;
use crate::domain::refresh::{RefreshState, Urgency};
use crate::service::lookup::AccountName;
use crate::service::{Error, Service, changes};
use crate::store::{AccountFilter, Page, PageRequest};

/// An account with what belongs to it.
#[derive(Clone, Debug)]
pub struct AccountView {
    /// The account.
    pub account: Account,
    /// Its app.
    pub app: App,
    /// The generation of its grant, 0 without one.
    pub generation: i64,
    /// Its token for `mail`, sealed.
    pub token: Option<AccessToken>,
    /// When it was refreshed, and whether that works.
    pub state: RefreshState,
    /// All about its refreshes; only for one account at a time.
    pub chart: Option<Box<Chart>>,
}

impl Service {
    /// One account, with all about its refreshes.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn account_view(
        &self,
        permit: &Manage,
        name: &AccountName,
    ) -> Result<AccountView, Error> {
        let account = self.account_named(permit.project(), name).await?;
        let chart = self.chart(&account).await?;
        let view = self.view_account(account).await?;
        Ok(AccountView { chart: Some(Box::new(chart)), ..view })
    }

    /// The accounts of a project, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn accounts(
        &self,
        permit: &Manage,
        page: PageRequest,
        filter: AccountFilter,
    ) -> Result<Page<AccountView>, Error> {
        let found = self.read().await?.accounts(permit.project(), filter, &page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for row in found.items {
            items.push(self.view_account(self.parts.sealer.admit(row)?).await?);
        }
        Ok(Page { items, next_page_token: found.next_page_token })
    }

    /// Switches an account off or on. Nothing is forgotten.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn switch_account(
        &self,
        permit: &Manage,
        name: &AccountName,
        disabled: bool,
    ) -> Result<AccountView, Error> {
        let account = self.account_named(permit.project(), name).await?;
        let event = self.account_event(permit, What::AccountUpdated, &account);
        let event = Event { detail: if disabled { "disabled" } else { "enabled" }.into(), ..event };
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let service = self.clone();
        let account = self
            .write(move |tx| {
                Box::pin(async move {
                    let target = (account.id, None);
                    let edit = |account: &mut Account| account.disabled = disabled;
                    let account = changes::edit_account(tx, &sealer, target, now, edit).await?;
                    // Switched off it drops out of the schedule by itself.
                    if !disabled {
                        service.reschedule(tx, &account).await?;
                    }
                    tx.append_audit(event).await?;
                    Ok(account)
                })
            })
            .await?;
        self.view_account(account).await
    }

    /// Fetches a new token now.
    ///
    /// # Errors
    /// Whatever stands between the account and a token.
    pub async fn refresh_account(
        &self,
        permit: &Manage,
        name: &AccountName,
        audience: &str,
    ) -> Result<AccountView, Error> {
        let account = self.account_named(permit.project(), name).await?;
        let audience = if audience.is_empty() { "mail" } else { audience };
        // Asked of the provider, an unknown target would look like a broken app.
        let app = self.app(account.app).await?;
        self.check_target(&self.resolve_for(&app, &account)?, audience)?;
        let at_hand = self.read().await?.access_token(account.id, audience).await?;
        self.refreshed(&account, audience, at_hand.as_ref(), Urgency::Forced).await?;
        self.account_view(permit, name).await
    }

    pub(super) async fn view_account(&self, account: Account) -> Result<AccountView, Error> {
        let app = self.app(account.app).await?;
        let mut conn = self.read().await?;
        let generation = conn.current_grant(account.id).await?.map_or(0, |grant| grant.generation);
        let token = conn.access_token(account.id, "mail").await?;
        let state = conn.refresh_state(account.id).await?.unwrap_or_default();
        Ok(AccountView { account, app, generation, token, state, chart: None })
    }

    /// An audit record about an account.
    pub(super) fn account_event(&self, permit: &Manage, what: What, account: &Account) -> Event {
        self.managed(permit, what, account.name.as_str(), "")
    }
}
