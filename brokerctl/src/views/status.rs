//! The broker itself as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;
use token_broker_client::v1;

use crate::output::{Screen, View};
use crate::when::iso;

/// The broker in one screen.
#[derive(Serialize)]
pub(crate) struct StatusView {
    version: String,
    client_version: &'static str,
    store_engine: String,
    schema_version: i64,
    start_time: Option<String>,
    public_uri: String,
    key_term: u32,
    apps: i64,
    rejected_apps: Vec<String>,
    /// How many accounts are in each state.
    accounts: BTreeMap<String, i64>,
    active_credentials: i64,
    active_callers: i64,
}

impl From<v1::GetSystemStatusResponse> for StatusView {
    fn from(status: v1::GetSystemStatusResponse) -> Self {
        Self {
            version: status.version,
            client_version: env!("CARGO_PKG_VERSION"),
            store_engine: status.store_engine,
            schema_version: status.schema_version,
            start_time: iso(status.start_time),
            public_uri: status.public_uri,
            key_term: status.key_term,
            apps: status.apps,
            rejected_apps: status.rejected_apps,
            accounts: status.accounts.into_iter().map(|one| (one.state, one.count)).collect(),
            active_credentials: status.active_credentials,
            active_callers: status.active_callers,
        }
    }
}

impl View for StatusView {
    fn draw(&self, screen: &Screen) -> String {
        let accounts = self.accounts.iter().map(|(state, count)| format!("{count} {state}"));
        let accounts = accounts.collect::<Vec<_>>().join(", ");
        screen.record(&[
            ("Broker", format!("{} (brokerctl {})", self.version, self.client_version)),
            ("Started", screen.time(&self.start_time)),
            ("Store", format!("{}, schema {}", self.store_engine, self.schema_version)),
            ("Consent pages", self.public_uri.clone()),
            ("Key term", self.key_term.to_string()),
            ("Apps", self.apps.to_string()),
            ("Refused apps", self.rejected_apps.join(" ")),
            ("Accounts", if accounts.is_empty() { "none".into() } else { accounts }),
            ("Credentials", self.active_credentials.to_string()),
            ("Callers", self.active_callers.to_string()),
        ])
    }
}
