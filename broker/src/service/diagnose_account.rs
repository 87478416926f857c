//! How an account stands, in words, and all that is known of its refreshes.
//!
//! Never asks a provider, never opens a sealed value and writes nothing. Invariant: what is told here was decided by the same
//! functions that the refresh obeys. Next: `domain/diagnosis.rs` has the words.

use crate::domain::account::Account;
use crate::domain::caller::Manage;
use crate::domain::chart::Chart;
use crate::domain::diagnosis::{Case, Finding, diagnose};
use crate::service::accounts::AccountView;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};

/// How many attempts are shown.
const ATTEMPTS: i64 = 20;

impl Service {
    /// An account and what is to be said about it, the worst first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn diagnose_account(
        &self,
        permit: &Manage,
        name: &AccountName,
    ) -> Result<(AccountView, Vec<Finding>), Error> {
        let account = self.account_named(permit.project(), name).await?;
        let chart = self.chart(&account).await?;
        let view = self.view_account(account).await?;
        let secrets = self.read().await?.app_secrets(view.app.id).await?;
        let provider = self.resolve_for(&view.app, &view.account).ok();
        let endpoint = provider.and_then(|it| self.gates.endpoint(&it.urls.token));
        let findings = diagnose(Case {
            account: &view.account,
            app: &view.app,
            secrets: &secrets,
            endpoint: endpoint.as_ref(),
            chart: &chart,
        });
        Ok((AccountView { chart: Some(Box::new(chart)), ..view }, findings))
    }

    /// All that is known of an account's refreshes.
    pub(super) async fn chart(&self, account: &Account) -> Result<Chart, Error> {
        let app = self.app(account.app).await?;
        let rules = self.resolve_for(&app, account).ok().map(|it| self.rules_of(&it));
        let mut conn = self.read().await?;
        let state = conn.refresh_state(account.id).await?.unwrap_or_default();
        let attempts = conn.attempts(account.id, ATTEMPTS).await?;
        let (ledger, grants) = self.ledger(&mut conn, account, None).await?;
        let proven = grants.iter().filter(|it| it.proven).map(|it| it.generation).collect();
        let replica = self.parts.replica.clone();
        Ok(Chart { state, ledger, proven, attempts, rules, replica, at: self.now() })
    }
}
