//! Consents as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::account::AccountView;
use super::{some, word};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// A consent on its way.
#[derive(Serialize)]
pub(crate) struct ConsentView {
    name: String,
    id: String,
    app: String,
    account: Option<String>,
    expected_mailbox: Option<String>,
    /// `application`, `invitation`, `loopback`.
    mode: Option<String>,
    /// `open`, `pending`, `finished`, `failed`, `expired`, `cancelled`.
    state: Option<String>,
    /// The link for the owner; only right after it was made.
    uri: Option<String>,
    requester: Option<String>,
    failure: Option<String>,
    expire_time: Option<String>,
    create_time: Option<String>,
    /// The account, once finished.
    result: Option<AccountView>,
}

impl From<v1::Consent> for ConsentView {
    fn from(consent: v1::Consent) -> Self {
        Self {
            id: names::id(&consent.name).into(),
            mode: word(consent.mode().as_str_name(), "CONSENT_MODE_"),
            state: word(consent.state().as_str_name(), "CONSENT_STATE_"),
            name: consent.name,
            app: consent.app,
            account: some(consent.account),
            expected_mailbox: some(consent.expected_mailbox),
            uri: some(consent.uri),
            requester: some(consent.requester),
            failure: some(consent.failure),
            expire_time: iso(consent.expire_time),
            create_time: iso(consent.create_time),
            result: consent.result.map(Into::into),
        }
    }
}

impl View for ConsentView {
    fn draw(&self, screen: &Screen) -> String {
        let facts = screen.record(&[
            ("Consent", self.id.clone()),
            ("App", names::id(&self.app).into()),
            ("Mailbox", self.expected_mailbox.clone().unwrap_or_default()),
            ("Account", self.account.as_deref().map(names::id).unwrap_or_default().into()),
            ("Kind", self.mode.clone().unwrap_or_default()),
            ("State", self.state.clone().unwrap_or_default()),
            ("Failure", self.failure.clone().unwrap_or_default()),
            ("Asked by", self.requester.clone().unwrap_or_default()),
            ("Ends", screen.time(&self.expire_time)),
        ]);
        match &self.uri {
            // On a line of its own: a link in a table column would be cut in pieces.
            Some(link) => format!("{facts}\n\n{}", crate::output::plain(link)),
            None => facts,
        }
    }
}

/// All open consents.
#[derive(Serialize)]
pub(crate) struct ConsentsView {
    consents: Vec<ConsentView>,
}

impl From<Vec<v1::Consent>> for ConsentsView {
    fn from(consents: Vec<v1::Consent>) -> Self {
        Self { consents: consents.into_iter().map(Into::into).collect() }
    }
}

impl View for ConsentsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.consents.iter().map(|one| {
            vec![
                one.id.clone(),
                names::id(&one.app).into(),
                one.expected_mailbox.clone().unwrap_or_default(),
                one.mode.clone().unwrap_or_default(),
                one.state.clone().unwrap_or_default(),
                screen.time(&one.expire_time),
            ]
        });
        let heading = ["CONSENT", "APP", "MAILBOX", "KIND", "STATE", "ENDS"];
        screen.table(&heading, rows.collect(), "No open consents.")
    }
}
