//! The broker itself as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;
use token_broker_client::v1;

use super::drain::ServingView;
use super::key::{RefusedView, TermView};
use super::some;
use crate::output::{Screen, View};
use crate::when::{iso, seconds};

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
    replica: Option<String>,
    interrupted_accounts: i64,
    due_accounts: i64,
    endpoints: Vec<EndpointView>,
    paused_apps: Vec<PausedView>,
    decisions: Option<DecisionsView>,
    replicas: Vec<ReplicaView>,
    rights_epoch: i64,
    key_terms: Vec<TermView>,
    serving: Option<ServingView>,
    refused_rows: Vec<RefusedView>,
}

/// How the broker that answers decides and records what it hands out.
#[derive(Serialize)]
struct DecisionsView {
    relaxed: bool,
    epoch: i64,
    epoch_lag: i64,
    waiting: u32,
    room: u32,
    last_commit_ms: Option<f64>,
    chain: String,
    relaxed_lag_ms: Option<f64>,
}

/// A broker process among those that share the store.
#[derive(Serialize)]
struct ReplicaView {
    name: String,
    version: String,
    start_time: Option<String>,
    last_seen_time: Option<String>,
    live: bool,
    draining: bool,
    key_term: u32,
}

impl From<v1::Replica> for ReplicaView {
    fn from(of: v1::Replica) -> Self {
        Self {
            name: of.name,
            version: of.version,
            start_time: iso(of.start_time),
            last_seen_time: iso(of.last_seen_time),
            live: of.live,
            draining: of.draining,
            key_term: of.key_term,
        }
    }
}

impl ReplicaView {
    fn words(&self, screen: &Screen) -> String {
        let state = match (self.live, self.draining) {
            (false, _) => format!("silent, last seen {}", screen.time(&self.last_seen_time)),
            (true, true) => "drained".to_owned(),
            (true, false) => format!("up, started {}", screen.time(&self.start_time)),
        };
        format!("{} {}: {state}", self.name, self.version)
    }
}

/// A token endpoint, as the broker that answers sees it.
#[derive(Serialize)]
struct EndpointView {
    endpoint: String,
    failures: u32,
    retry_time: Option<String>,
}

/// An app that is left alone.
#[derive(Serialize)]
struct PausedView {
    app: String,
    retry_time: Option<String>,
    refusals: u32,
}

impl From<v1::TokenEndpoint> for EndpointView {
    fn from(of: v1::TokenEndpoint) -> Self {
        Self { endpoint: of.endpoint, failures: of.failures, retry_time: iso(of.retry_time) }
    }
}

impl From<v1::PausedApp> for PausedView {
    fn from(of: v1::PausedApp) -> Self {
        Self { app: of.app, retry_time: iso(of.retry_time), refusals: of.refusals }
    }
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
            replica: some(status.replica),
            interrupted_accounts: status.interrupted_accounts,
            due_accounts: status.due_accounts,
            endpoints: status.endpoints.into_iter().map(Into::into).collect(),
            paused_apps: status.paused_apps.into_iter().map(Into::into).collect(),
            decisions: status.decisions.map(Into::into),
            replicas: status.replicas.into_iter().map(Into::into).collect(),
            rights_epoch: status.rights_epoch,
            key_terms: status.key_terms.into_iter().map(Into::into).collect(),
            serving: status.serving.map(Into::into),
            refused_rows: status.refused_rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::Decisions> for DecisionsView {
    fn from(decisions: v1::Decisions) -> Self {
        let millis = |span| seconds(span) * 1000.0;
        Self {
            relaxed: decisions.relaxed,
            epoch: decisions.epoch,
            epoch_lag: decisions.epoch_lag,
            waiting: decisions.waiting,
            room: decisions.room,
            last_commit_ms: decisions.last_commit.map(millis),
            chain: decisions.chain,
            relaxed_lag_ms: decisions.relaxed_lag.map(millis),
        }
    }
}

impl DecisionsView {
    fn words(&self) -> String {
        let mode = match self.relaxed_lag_ms.filter(|_| self.relaxed) {
            Some(lag) => format!(
                "RELAXED: a crash may lose the last records, a revocation acts within {lag:.0} ms"
            ),
            None => "strict".to_owned(),
        };
        let commit = self.last_commit_ms.unwrap_or_default();
        format!(
            "{mode}\nepoch {}, {} not looked at yet; {} of {} waiting, last commit {commit:.1} ms; chain {}",
            self.epoch, self.epoch_lag, self.waiting, self.room, self.chain
        )
    }
}

impl View for StatusView {
    fn draw(&self, screen: &Screen) -> String {
        let accounts = self.accounts.iter().map(|(state, count)| format!("{count} {state}"));
        let accounts = accounts.collect::<Vec<_>>().join(", ");
        let paused = self.paused_apps.iter().map(|app| {
            let why = if app.refusals > 0 { "refused" } else { "told to be silent" };
            format!("{}: {why}, asked again {}", app.app, screen.time(&app.retry_time))
        });
        let shut = self.endpoints.iter().filter(|it| it.retry_time.is_some()).map(|it| {
            let again = screen.time(&it.retry_time);
            format!("{}: {} failures in a row, asked again {again}", it.endpoint, it.failures)
        });
        let interrupted = match self.interrupted_accounts {
            0 => String::new(),
            count => format!("{count}: a refresh was sent and its answer never came"),
        };
        let brokers = self.replicas.iter().map(|it| it.words(screen)).collect::<Vec<_>>();
        let terms = self.key_terms.iter().map(TermView::words).collect::<Vec<_>>();
        let keys = if terms.is_empty() { self.key_term.to_string() } else { terms.join(", ") };
        let refused = self.refused_rows.iter().map(RefusedView::words).collect::<Vec<_>>();
        screen.record(&[
            ("Broker", format!("{} (brokerctl {})", self.version, self.client_version)),
            ("Process", self.replica.clone().unwrap_or_default()),
            ("Started", screen.time(&self.start_time)),
            ("Serving", self.serving.as_ref().map(ServingView::words).unwrap_or_default()),
            ("Brokers", brokers.join("\n")),
            ("Store", format!("{}, schema {}", self.store_engine, self.schema_version)),
            ("Consent pages", self.public_uri.clone()),
            ("Key terms", keys),
            ("Rights epoch", self.rights_epoch.to_string()),
            ("Damaged rows", refused.join("\n")),
            ("Apps", self.apps.to_string()),
            ("Refused apps", self.rejected_apps.join(" ")),
            ("Apps left alone", paused.collect::<Vec<_>>().join("\n")),
            ("Endpoints away", shut.collect::<Vec<_>>().join("\n")),
            ("Decisions", self.decisions.as_ref().map(DecisionsView::words).unwrap_or_default()),
            ("Accounts", if accounts.is_empty() { "none".into() } else { accounts }),
            ("Refreshes due", self.due_accounts.to_string()),
            ("Interrupted", interrupted),
            ("Credentials", self.active_credentials.to_string()),
            ("Callers", self.active_callers.to_string()),
        ])
    }
}
