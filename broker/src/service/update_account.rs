//! Changes what people say about an account: its name for people, its labels, its user name at the provider.
//!
//! Never changes mailbox or app: a consent was given for those.

use std::collections::BTreeMap;

use crate::domain::account::Account;
use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::service::accounts::AccountView;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service, changes};

/// What shall be different; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// For people.
    pub display_name: Option<String>,
    /// Free labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The user name towards the provider; free of control characters.
    pub sasl_user: Option<String>,
}

impl Service {
    /// Changes an account; `version` is the one its editor saw, if they care.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`] if it was changed meanwhile.
    pub async fn update_account(
        &self,
        permit: &Manage,
        name: &AccountName,
        change: AccountChange,
        version: Option<i64>,
    ) -> Result<AccountView, Error> {
        let account = self.account_named(permit.project(), name).await?;
        let event = self.account_event(permit, What::AccountUpdated, &account);
        let (sealer, now) = (self.parts.sealer.clone(), self.parts.clock.now());
        let account = self
            .write(move |tx| {
                Box::pin(async move {
                    let edit = |account: &mut Account| apply(account, change);
                    let target = (account.id, version);
                    let account = changes::edit_account(tx, &sealer, target, now, edit).await?;
                    tx.append_audit(event).await?;
                    Ok(account)
                })
            })
            .await?;
        self.view_account(account).await
    }
}

fn apply(account: &mut Account, change: AccountChange) {
    if let Some(display_name) = change.display_name {
        account.display_name = display_name;
    }
    if let Some(labels) = change.labels {
        account.labels = labels;
    }
    if let Some(sasl_user) = change.sasl_user {
        account.sasl_user = sasl_user;
    }
}
