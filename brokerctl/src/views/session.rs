//! Mail sessions as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{some, word};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// A session.
#[derive(Serialize)]
pub(crate) struct SessionView {
    name: String,
    id: String,
    account: Option<String>,
    credential: Option<String>,
    adapter: Option<String>,
    protocol: Option<String>,
    client_address: String,
    /// `live`, `ending`, `silent`, `ended`.
    state: Option<String>,
    open_time: Option<String>,
    end_time: Option<String>,
    /// `finished`, `revoked`, `operator`, ..
    end_reason: Option<String>,
    last_report_time: Option<String>,
    /// `accepted`, `refused`, `unreachable`.
    upstream_login: Option<String>,
    renewals: i32,
    bytes_up: i64,
    bytes_down: i64,
}

impl From<v1::Session> for SessionView {
    fn from(session: v1::Session) -> Self {
        Self {
            id: names::id(&session.name).into(),
            protocol: word(session.protocol().as_str_name(), "MAIL_PROTOCOL_"),
            state: word(session.state().as_str_name(), "SESSION_STATE_"),
            end_reason: word(session.end_reason().as_str_name(), "SESSION_END_REASON_"),
            upstream_login: word(session.upstream_login().as_str_name(), "SESSION_LOGIN_"),
            name: session.name,
            account: some(session.account),
            credential: some(session.credential),
            adapter: some(session.adapter),
            client_address: session.client_address,
            open_time: iso(session.open_time),
            end_time: iso(session.end_time),
            last_report_time: iso(session.last_report_time),
            renewals: session.renewals,
            bytes_up: session.bytes_up,
            bytes_down: session.bytes_down,
        }
    }
}

/// The id of what a name is about.
fn short(name: Option<&String>) -> String {
    name.map(|name| names::id(name)).unwrap_or_default().into()
}

impl View for SessionView {
    fn draw(&self, screen: &Screen) -> String {
        screen.record(&[
            ("Session", self.id.clone()),
            ("Account", short(self.account.as_ref())),
            ("Credential", short(self.credential.as_ref())),
            ("Adapter", short(self.adapter.as_ref())),
            ("Protocol", self.protocol.clone().unwrap_or_default()),
            ("From", self.client_address.clone()),
            ("State", self.state.clone().unwrap_or_default()),
            ("Opened", screen.time(&self.open_time)),
            ("Ended", screen.time(&self.end_time)),
            ("Why", self.end_reason.clone().unwrap_or_default()),
            ("Last told of", screen.time(&self.last_report_time)),
            ("Login upstream", self.upstream_login.clone().unwrap_or_default()),
            ("Renewals", self.renewals.to_string()),
            ("Bytes up", self.bytes_up.to_string()),
            ("Bytes down", self.bytes_down.to_string()),
        ])
    }
}

/// Sessions, newest first.
#[derive(Serialize)]
pub(crate) struct SessionsView {
    sessions: Vec<SessionView>,
}

impl From<Vec<v1::Session>> for SessionsView {
    fn from(sessions: Vec<v1::Session>) -> Self {
        Self { sessions: sessions.into_iter().map(Into::into).collect() }
    }
}

impl View for SessionsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.sessions.iter().map(|one| {
            let state = one.state.clone().unwrap_or_default();
            vec![
                one.id.clone(),
                short(one.account.as_ref()),
                short(one.credential.as_ref()),
                short(one.adapter.as_ref()),
                one.client_address.clone(),
                match &one.end_reason {
                    Some(reason) => format!("{state}: {reason}"),
                    None => state,
                },
                screen.time(&one.open_time),
                screen.time(&one.end_time),
                one.bytes_up.to_string(),
                one.bytes_down.to_string(),
            ]
        });
        let heading = [
            "SESSION",
            "ACCOUNT",
            "CREDENTIAL",
            "ADAPTER",
            "FROM",
            "STATE",
            "OPENED",
            "ENDED",
            "UP",
            "DOWN",
        ];
        screen.table(&heading, rows.collect(), "No sessions.")
    }
}

/// How many sessions were told to end.
#[derive(Serialize)]
pub(crate) struct EndedView {
    pub(crate) ended: i32,
}

impl View for EndedView {
    fn draw(&self, _: &Screen) -> String {
        match self.ended {
            0 => "No open session fits.".into(),
            1 => "1 session was told to end.".into(),
            some => format!("{some} sessions were told to end."),
        }
    }
}
