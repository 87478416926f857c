//! The one list of what is counted.
//!
//! Never a global: tests and two adapters in one process do not share counts. Invariant: no label has a value that a client or
//! a mailbox can choose. Next: `ops` shows them.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use token_broker_client::v1::SessionEndReason;
use tokio::time::Instant;

use crate::dialogue::{Blame, Verdict};

/// Names as Prometheus sees them, and what they mean.
const CONNECTIONS: (&str, &str) =
    ("tokenbroker_adapter_connections_total", "Connections by what became of them at the door");
const LOGINS: (&str, &str) =
    ("tokenbroker_adapter_logins_total", "Logins that were shown to the broker, by their answer");
const LOGIN_SECONDS: (&str, &str) =
    ("tokenbroker_adapter_login_seconds", "Time from a login to its answer, delays included");
const SESSIONS: (&str, &str) = ("tokenbroker_adapter_sessions", "Sessions that are relayed now");
const BYTES: (&str, &str) =
    ("tokenbroker_adapter_relayed_bytes_total", "Bytes of ended sessions by direction");
const BROKER: (&str, &str) =
    ("tokenbroker_adapter_broker_calls_total", "Calls to the broker by their result");
const BROKER_UP: (&str, &str) =
    ("tokenbroker_adapter_broker_up", "1 if the last call to the broker was answered");

const ENDED: (&str, &str) =
    ("tokenbroker_adapter_sessions_ended_total", "Ended sessions by reason");
const WATCHING: (&str, &str) =
    ("tokenbroker_adapter_watching", "1 while a broker tells which sessions have to end");
const CHECKPOINT: (&str, &str) = (
    "tokenbroker_adapter_checkpoint_age_seconds",
    "Time since a broker was heard of last; at orphan_ttl all sessions end",
);

const BUCKETS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// What became of a connection at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Let in.
    Accepted,
    /// No room.
    Full,
    /// No PROXY header, or one from a stranger.
    NoProxyHeader,
    /// The TLS handshake failed.
    NoTls,
}

/// Every counter of one adapter. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    handle: PrometheusHandle,
    entries: [Counter; 4],
    logins: [Counter; 6],
    login_seconds: Histogram,
    sessions: Gauge,
    up: Counter,
    down: Counter,
    broker_answered: Counter,
    broker_failed: Counter,
    broker_up: Gauge,
    ended: [Counter; ENDS.len()],
    watching: Gauge,
    checkpoint_age: Gauge,
    heard: Mutex<Instant>,
}

/// Why sessions end here, in the words of the contract.
const ENDS: [(SessionEndReason, &str); 9] = [
    (SessionEndReason::Finished, "finished"),
    (SessionEndReason::Broken, "broken"),
    (SessionEndReason::Idle, "idle"),
    (SessionEndReason::AdapterStopped, "adapter_stopped"),
    (SessionEndReason::Revoked, "revoked"),
    (SessionEndReason::NeedsConsent, "needs_consent"),
    (SessionEndReason::ContactAdmin, "contact_admin"),
    (SessionEndReason::Operator, "operator"),
    (SessionEndReason::CutOff, "cut_off"),
];

impl Metrics {
    /// All counts at zero; `protocol` becomes a label of each.
    pub fn new(protocol: &'static str) -> Self {
        let builder = PrometheusBuilder::new().add_global_label("protocol", protocol);
        // Only an empty list of buckets is refused.
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        for (name, help) in [CONNECTIONS, LOGINS, BYTES, BROKER, ENDED] {
            recorder.describe_counter(name.into(), None, help.into());
        }
        for (name, help) in [SESSIONS, BROKER_UP, WATCHING, CHECKPOINT] {
            recorder.describe_gauge(name.into(), None, help.into());
        }
        recorder.describe_histogram(LOGIN_SECONDS.0.into(), None, LOGIN_SECONDS.1.into());
        let entry = |result| counter(&recorder, CONNECTIONS, ("result", result));
        let login = |result| counter(&recorder, LOGINS, ("result", result));
        Self(Arc::new(All {
            handle: recorder.handle(),
            entries: ["accepted", "full", "no_proxy_header", "no_tls"].map(entry),
            logins: [
                "accepted",
                "bad_credential",
                "needs_consent",
                "contact_admin",
                "unavailable",
                "limit",
            ]
            .map(login),
            login_seconds: recorder
                .register_histogram(&Key::from_static_name(LOGIN_SECONDS.0), &METADATA),
            sessions: recorder.register_gauge(&Key::from_static_name(SESSIONS.0), &METADATA),
            up: counter(&recorder, BYTES, ("direction", "up")),
            down: counter(&recorder, BYTES, ("direction", "down")),
            broker_answered: counter(&recorder, BROKER, ("result", "answered")),
            broker_failed: counter(&recorder, BROKER, ("result", "failed")),
            broker_up: recorder.register_gauge(&Key::from_static_name(BROKER_UP.0), &METADATA),
            ended: ENDS.map(|(_, reason)| counter(&recorder, ENDED, ("reason", reason))),
            watching: recorder.register_gauge(&Key::from_static_name(WATCHING.0), &METADATA),
            checkpoint_age: recorder
                .register_gauge(&Key::from_static_name(CHECKPOINT.0), &METADATA),
            heard: Mutex::new(Instant::now()),
        }))
    }

    /// A connection came.
    pub fn entered(&self, entry: Entry) {
        self.0.entries[entry as usize].increment(1);
    }

    /// A login was answered after this many seconds.
    pub fn answered(&self, verdict: &Verdict, seconds: f64) {
        let at = match verdict {
            Verdict::Accepted(_) => 0,
            Verdict::Denied { blame: Blame::BadCredential, .. } => 1,
            Verdict::Denied { blame: Blame::NeedsConsent, .. } => 2,
            Verdict::Denied { blame: Blame::ContactAdmin, .. } => 3,
            Verdict::Denied { blame: Blame::Unavailable, .. } => 4,
            Verdict::Denied { blame: Blame::Limit, .. } => 5,
        };
        self.0.logins[at].increment(1);
        self.0.login_seconds.record(seconds);
    }

    /// A session begins to be relayed.
    pub fn session_began(&self) {
        self.0.sessions.increment(1.0);
    }

    /// A session ended for this reason, after this many bytes up and down.
    pub fn session_ended(&self, why: SessionEndReason, up: u64, down: u64) {
        if let Some(at) = ENDS.iter().position(|(reason, _)| *reason == why) {
            self.0.ended[at].increment(1);
        }
        self.0.sessions.decrement(1.0);
        self.0.up.increment(up);
        self.0.down.increment(down);
    }

    /// The broker was called.
    pub fn broker(&self, answered: bool) {
        let counter = if answered { &self.0.broker_answered } else { &self.0.broker_failed };
        counter.increment(1);
        self.0.broker_up.set(if answered { 1.0 } else { 0.0 });
    }

    /// A checkpoint came, or the watch ended.
    pub fn watching(&self, yes: bool) {
        self.0.watching.set(if yes { 1.0 } else { 0.0 });
        if yes {
            *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.checkpoint_age.set(heard.elapsed().as_secs_f64());
        self.0.handle.run_upkeep();
        self.0.handle.render()
    }
}

const METADATA: Metadata<'static> = Metadata::new("adapter", Level::INFO, None);

fn counter(
    recorder: &PrometheusRecorder,
    (name, _): (&'static str, &str),
    (label, value): (&'static str, &'static str),
) -> Counter {
    let key = Key::from_parts(name, vec![Label::from_static_parts(label, value)]);
    let counter = recorder.register_counter(&key, &METADATA);
    counter.increment(0);
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shown_with_their_labels() {
        let metrics = Metrics::new("imap");
        let text = String::new();
        metrics.answered(&Verdict::Denied { blame: Blame::Limit, text }, 0.2);
        let shown = metrics.text();
        assert!(
            shown
                .contains("tokenbroker_adapter_logins_total{protocol=\"imap\",result=\"limit\"} 1"),
            "{shown}"
        );
        assert!(shown.contains("result=\"accepted\"} 0"), "what never happened is shown as zero");
        assert!(shown.contains("tokenbroker_adapter_login_seconds_bucket"));
    }

    #[test]
    fn two_adapters_in_one_process_count_apart() {
        let (first, second) = (Metrics::new("imap"), Metrics::new("imap"));
        first.entered(Entry::Full);
        assert!(second.text().contains("result=\"full\"} 0"));
    }
}
