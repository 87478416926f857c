//! Accounts as they are shown.

use std::collections::BTreeMap;

use serde::Serialize;
use token_broker_client::v1;

use super::refresh::RefreshView;
use super::{joined, ordered, reason, some, word};
use crate::names;
use crate::output::{Screen, View, plain};
use crate::when::iso;

/// An account.
#[derive(Serialize)]
pub(crate) struct AccountView {
    pub(crate) name: String,
    id: String,
    pub(crate) mailbox: String,
    display_name: Option<String>,
    app: String,
    labels: BTreeMap<String, String>,
    /// `pending`, `active`, `needs_consent`, `needs_interaction`, `blocked_by_policy`, `disabled`, `revoked`.
    state: Option<String>,
    reason: Option<String>,
    provider_code: Option<String>,
    provider_message: Option<String>,
    subject: Option<String>,
    sasl_user: Option<String>,
    generation: i64,
    /// Revoked, and the provider has not confirmed yet: it is asked every minute for 7 days.
    pub(crate) revocation_pending: bool,
    token_expire_time: Option<String>,
    refresh_time: Option<String>,
    create_time: Option<String>,
    update_time: Option<String>,
    etag: String,
    /// Null in lists and after changes.
    refresh: Option<RefreshView>,
}

impl From<v1::Account> for AccountView {
    fn from(account: v1::Account) -> Self {
        Self {
            id: names::id(&account.name).into(),
            state: word(account.state().as_str_name(), "ACCOUNT_STATE_"),
            reason: reason(account.reason()),
            name: account.name,
            mailbox: account.mailbox,
            display_name: some(account.display_name),
            app: account.app,
            labels: ordered(account.labels),
            provider_code: some(account.provider_code),
            provider_message: some(account.provider_message),
            subject: some(account.subject),
            sasl_user: some(account.sasl_user),
            generation: account.generation,
            revocation_pending: account.revocation_pending,
            token_expire_time: iso(account.token_expire_time),
            refresh_time: iso(account.refresh_time),
            create_time: iso(account.create_time),
            update_time: iso(account.update_time),
            etag: account.etag,
            refresh: account.refresh.map(Into::into),
        }
    }
}

impl AccountView {
    /// One line that says which account it is.
    pub(crate) fn title(&self) -> String {
        let state = self.state.as_deref().unwrap_or_default();
        plain(&format!("{} ({}), app {}: {state}", self.mailbox, self.id, names::id(&self.app)))
    }
}

impl View for AccountView {
    fn draw(&self, screen: &Screen) -> String {
        let provider = [&self.provider_code, &self.provider_message];
        let provider: Vec<_> = provider.into_iter().flatten().cloned().collect();
        let state = self.state.clone().unwrap_or_default();
        let pending = if self.revocation_pending { ", provider not told yet" } else { "" };
        let mut parts = vec![
            ("Account", self.id.clone()),
            ("Mailbox", self.mailbox.clone()),
            ("Name", self.display_name.clone().unwrap_or_default()),
            ("App", names::id(&self.app).into()),
            ("State", state + pending),
            ("Reason", self.reason.clone().unwrap_or_default()),
            ("Provider says", provider.join(": ")),
            ("Login upstream", self.sasl_user.clone().unwrap_or_default()),
            ("Labels", joined(&self.labels)),
            ("Token ends", screen.time(&self.token_expire_time)),
            ("Refreshed", screen.time(&self.refresh_time)),
        ];
        let made = ("Made", screen.time(&self.create_time));
        let Some(refresh) = &self.refresh else {
            parts.push(made);
            return screen.record(&parts);
        };
        parts.extend(refresh.lines(screen));
        parts.push(made);
        format!("{}\n\n{}", screen.record(&parts), refresh.tables(screen))
    }
}

/// All accounts.
#[derive(Serialize)]
pub(crate) struct AccountsView {
    accounts: Vec<AccountView>,
}

impl From<Vec<v1::Account>> for AccountsView {
    fn from(accounts: Vec<v1::Account>) -> Self {
        Self { accounts: accounts.into_iter().map(Into::into).collect() }
    }
}

impl View for AccountsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.accounts.iter().map(|account| {
            vec![
                account.id.clone(),
                account.mailbox.clone(),
                names::id(&account.app).into(),
                account.state.clone().unwrap_or_default(),
                account.reason.clone().unwrap_or_default(),
                screen.time(&account.token_expire_time),
            ]
        });
        let heading = ["ACCOUNT", "MAILBOX", "APP", "STATE", "REASON", "TOKEN ENDS"];
        let none = "No accounts. Connect one: brokerctl account connect --app APP";
        screen.table(&heading, rows.collect(), none)
    }
}

/// An account after it was given back.
#[derive(Serialize)]
pub(crate) struct RevokedView {
    #[serde(flatten)]
    pub(crate) account: AccountView,
    pub(crate) revoked_at_provider: bool,
}

impl View for RevokedView {
    fn draw(&self, screen: &Screen) -> String {
        let provider = match (self.revoked_at_provider, self.account.revocation_pending) {
            (true, _) => "The provider confirmed it.",
            (false, true) => {
                "The provider has not confirmed yet; it is asked every minute for 7 days."
            }
            (false, false) => {
                "The provider cannot be told: there its tokens live until they end, or the owner withdraws the grant."
            }
        };
        format!("{}\n\n{provider}", self.account.draw(screen))
    }
}

/// What became of all accounts.
#[derive(Default, Serialize)]
pub(crate) struct RevokedAllView {
    /// Accounts that are revoked now.
    pub(crate) revoked: usize,
    /// Of those, the ones whose provider has not confirmed yet and is asked again.
    pub(crate) pending: Vec<String>,
    /// Of those, the ones whose provider cannot be told.
    pub(crate) not_confirmed: Vec<String>,
    /// Accounts that are as they were.
    pub(crate) failed: Vec<NotRevoked>,
}

/// An account that could not be revoked.
#[derive(Serialize)]
pub(crate) struct NotRevoked {
    pub(crate) account: String,
    pub(crate) why: String,
}

impl View for RevokedAllView {
    fn draw(&self, screen: &Screen) -> String {
        let mut text = format!("{} accounts revoked", self.revoked);
        let lists = [
            ("NOT CONFIRMED YET, ASKED EVERY MINUTE", &self.pending),
            ("THE PROVIDER CANNOT BE TOLD", &self.not_confirmed),
        ];
        for (heading, accounts) in lists.into_iter().filter(|(_, accounts)| !accounts.is_empty()) {
            let rows = accounts.iter().map(|account| vec![account.clone()]).collect();
            text += "\n\n";
            text += &screen.table(&[heading], rows, "");
        }
        if !self.failed.is_empty() {
            let row = |it: &NotRevoked| vec![it.account.clone(), it.why.clone()];
            text += "\n\n";
            text +=
                &screen.table(&["NOT REVOKED", "WHY"], self.failed.iter().map(row).collect(), "");
        }
        text
    }
}
