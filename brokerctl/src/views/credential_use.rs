//! What a credential was used for, as it is shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{some, word};
use crate::output::{Screen, View};
use crate::when::iso;

/// Mail sessions, newest first.
#[derive(Serialize)]
pub(crate) struct UsesView {
    uses: Vec<UseView>,
}

#[derive(Serialize)]
struct UseView {
    session: String,
    open_time: Option<String>,
    end_time: Option<String>,
    protocol: Option<String>,
    client_address: Option<String>,
    bytes_up: i64,
    bytes_down: i64,
    /// `accepted`, `refused`, `unreachable`: how the login at the provider went.
    upstream: Option<String>,
    renewals: i64,
}

impl From<Vec<v1::CredentialUse>> for UsesView {
    fn from(uses: Vec<v1::CredentialUse>) -> Self {
        let view = |one: v1::CredentialUse| UseView {
            protocol: word(one.protocol().as_str_name(), "MAIL_PROTOCOL_"),
            session: one.session,
            open_time: iso(one.open_time),
            end_time: iso(one.end_time),
            client_address: some(one.client_address),
            bytes_up: one.bytes_up,
            bytes_down: one.bytes_down,
            upstream: some(one.upstream),
            renewals: one.renewals,
        };
        Self { uses: uses.into_iter().map(view).collect() }
    }
}

impl View for UsesView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.uses.iter().map(|one| {
            vec![
                screen.time(&one.open_time),
                if one.end_time.is_some() { screen.time(&one.end_time) } else { "open".into() },
                one.protocol.clone().unwrap_or_default(),
                one.client_address.clone().unwrap_or_default(),
                one.bytes_up.to_string(),
                one.bytes_down.to_string(),
                one.upstream.clone().unwrap_or_default(),
            ]
        });
        let heading = ["OPENED", "ENDED", "PROTOCOL", "FROM", "BYTES UP", "BYTES DOWN", "PROVIDER"];
        screen.table(&heading, rows.collect(), "No mail session in the last 30 days.")
    }
}
