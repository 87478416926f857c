//! Every figure the broker counts: one list of names, units and words, and one function for each event.
//!
//! Never labelled with an account, a mailbox, an address or anything a client sent. Invariant: labels are `&'static str`, so
//! what is not known when the program is built cannot become one. Next: `http/ops.rs` shows the figures.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What is measured, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of events, ever growing.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How long something took, in seconds.
    Seconds,
    /// How many things came together.
    Size,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What is measured.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

macro_rules! figures {
    ($($constant:ident, $name:literal, $kind:ident, $labels:expr, $help:literal;)*) => {
        $(const $constant: &str = concat!("token_broker_", $name);)*

        /// Every figure there is.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $constant, kind: Kind::$kind, labels: &$labels, help: $help },)*
        ];
    };
}

figures! {
    BUILD, "build_info", Gauge, ["version"], "Always 1; says which version runs.";
    READY, "ready", Gauge, [], "Whether the last look at readiness found the store answering: 1 or 0.";
    TOKENS, "tokens_total", Counter, ["outcome"], "Requests for an access token: granted, stale, or the reason of the refusal.";
    REFRESHES, "refreshes_total", Counter, ["class"], "Refreshes at providers: renewed, or the class of the refusal.";
    REFRESH_SECONDS, "refresh_seconds", Seconds, [], "How long providers took to answer a refresh.";
    LEASE_WAIT_SECONDS, "lease_wait_seconds", Seconds, [], "How long refreshes waited for another broker, for room, or for the store.";
    BREAKERS, "endpoints_shut", Gauge, [], "Token endpoints that are away and asked by a probe only.";
    DUE, "refreshes_due", Gauge, [], "Accounts whose refresh is due and not done, each app counted up to 10,000.";
    ACCOUNTS, "accounts", Gauge, ["state"], "Accounts by state, over all projects.";
    DOUBTS, "refreshes_interrupted_total", Counter, [], "Refreshes that were interrupted where the token may be lost by it.";
    TOKEN_AGE_SECONDS, "token_age_seconds", Seconds, [], "How old tokens were when they were handed out.";
    TOKEN_LEFT_SECONDS, "token_left_seconds", Seconds, [], "How long tokens still lived when they were handed out.";
    SESSIONS, "sessions_total", Counter, ["protocol", "outcome"], "Mail logins asked for by adapters: opened, or the kind of denial.";
    WATCHERS, "adapter_watches", Gauge, [], "Adapters that watch this broker for what they have to end.";
    ENDS, "session_ends_total", Counter, ["reason"], "Ends of relayed sessions that adapters were told, by reason; one may be told again.";
    CONSENTS, "consents_total", Counter, ["outcome"], "Answers of mailbox owners: connected, returned to the application, or refused.";
    GRPC, "grpc_requests_total", Counter, ["method", "code"], "gRPC calls answered.";
    GRPC_SECONDS, "grpc_request_seconds", Seconds, ["method"], "How long gRPC calls took.";
    HTTP, "http_requests_total", Counter, ["class"], "Browser requests answered, by class of status: 2xx, 3xx, 4xx, 5xx.";
    HTTP_SECONDS, "http_request_seconds", Seconds, [], "How long browser requests took.";
    WRITE_SECONDS, "store_write_seconds", Seconds, [], "How long the writer took to commit a group.";
    DECISION_SECONDS, "decision_commit_seconds", Seconds, [], "How long the decision lane took to judge and commit a group.";
    DECISION_SIZE, "decision_group", Size, [], "How many decisions were committed in one group.";
    DECISIONS_WAITING, "decisions_waiting", Gauge, [], "Decisions that waited when the last group was committed.";
    OVERTAKEN, "decisions_overtaken_total", Counter, [], "Decisions made again since rights they were made on had changed.";
    SHED, "calls_shed_total", Counter, [], "Calls refused at the door because too many were in hand.";
    CHECKPOINTS, "audit_checkpoints_total", Counter, ["outcome"], "Signed checkpoints of audit chains: written, or failed if the second place cannot be written.";
    WRITE_SIZE, "store_write_jobs", Size, [], "How many jobs were committed in one group.";
}

const SECONDS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0];
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Starts counting, for the whole process; the handle shows the figures. Until then, events are counted nowhere.
///
/// # Errors
/// [`BuildError`] if counting was started before.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    AT_HAND.get_or_init(AtHand::new);
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    ALL.iter().try_fold(PrometheusBuilder::new(), |builder, metric| {
        let name = Matcher::Full(metric.name.to_owned());
        match metric.kind {
            Kind::Seconds => builder.set_buckets_for_metric(name, &SECONDS),
            Kind::Size => builder.set_buckets_for_metric(name, &SIZES),
            Kind::Counter | Kind::Gauge => Ok(builder),
        }
    })
}

fn describe() {
    for Metric { name, kind, help, .. } in ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, Unit::Count, *help),
            Kind::Gauge => describe_gauge!(*name, Unit::Count, *help),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *help),
            Kind::Size => describe_histogram!(*name, Unit::Count, *help),
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// The store was asked whether it answers.
pub fn ready(ready: bool) {
    gauge!(READY).set(f64::from(u8::from(ready)));
}

/// Handles of what is counted at every token: finding one again costs more than counting. Absent before [`start`].
static AT_HAND: OnceLock<AtHand> = OnceLock::new();

struct AtHand {
    granted: Counter,
    age: Histogram,
    left: Histogram,
}

impl AtHand {
    fn new() -> Self {
        Self {
            granted: counter!(TOKENS, "outcome" => "granted"),
            age: histogram!(TOKEN_AGE_SECONDS),
            left: histogram!(TOKEN_LEFT_SECONDS),
        }
    }
}

/// An access token was handed out; `stale` if only because a newer one could not be had.
pub fn token_granted(stale: bool) {
    match AT_HAND.get() {
        Some(at_hand) if !stale => at_hand.granted.increment(1),
        _ => counter!(TOKENS, "outcome" => if stale { "stale" } else { "granted" }).increment(1),
    }
}

/// An access token was not handed out, for this reason of the contract.
pub fn token_refused(reason: &'static str) {
    counter!(TOKENS, "outcome" => reason).increment(1);
}

/// A provider answered a refresh, or failed to, after `took`: `renewed`, or the class of the refusal.
pub fn refreshed(class: &'static str, took: Duration) {
    counter!(REFRESHES, "class" => class).increment(1);
    histogram!(REFRESH_SECONDS).record(took);
}

/// A refresh waited so long for something else than the provider.
pub fn lease_waited(span: Duration) {
    histogram!(LEASE_WAIT_SECONDS).record(span);
}

/// A token endpoint was shut, or opened again.
pub fn breaker(shut: bool) {
    if shut { gauge!(BREAKERS).increment(1.0) } else { gauge!(BREAKERS).decrement(1.0) }
}

/// So many accounts are due.
pub fn due(depth: u32) {
    gauge!(DUE).set(depth);
}

/// So many accounts are in this state.
pub fn accounts(state: &'static str, count: u32) {
    gauge!(ACCOUNTS, "state" => state).set(count);
}

/// A refresh was interrupted at a provider where that may have lost its token.
pub fn interrupted(doubts: u64) {
    counter!(DOUBTS).increment(doubts);
}

/// A token was handed out at this age, with so much left.
pub fn token_handed_out(age: Duration, left: Duration) {
    let record = |at_hand: &AtHand| {
        at_hand.age.record(age);
        at_hand.left.record(left);
    };
    AT_HAND.get().map_or_else(|| record(&AtHand::new()), record);
}

/// An adapter asked for a login over `protocol`: `opened`, or the kind of denial.
pub fn session(protocol: &'static str, outcome: &'static str) {
    counter!(SESSIONS, "protocol" => protocol, "outcome" => outcome).increment(1);
}

/// So many adapters watch.
pub fn watchers(count: usize) {
    gauge!(WATCHERS).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// An adapter was told to end a session, for this reason.
pub fn session_end(reason: &'static str) {
    counter!(ENDS, "reason" => reason).increment(1);
}

/// A mailbox owner came back from the provider: `connected`, `returned` or `refused`.
pub fn consent(outcome: &'static str) {
    counter!(CONSENTS, "outcome" => outcome).increment(1);
}

/// Counts the calls of one method: a name of the contract, never what a client sent.
pub struct Calls {
    method: &'static str,
    /// Absent before the first call after [`start`].
    at_hand: OnceLock<(Counter, Histogram)>,
}

impl Calls {
    /// Of this method.
    pub const fn of(method: &'static str) -> Self {
        Self { method, at_hand: OnceLock::new() }
    }

    /// One ended with `code` after `took`.
    pub fn ended(&self, code: &'static str, took: Duration) {
        let method = self.method;
        let make = || {
            let answered = counter!(GRPC, "method" => method, "code" => OK);
            (answered, histogram!(GRPC_SECONDS, "method" => method))
        };
        let made;
        let (answered, seconds) = match AT_HAND.get() {
            Some(_) => self.at_hand.get_or_init(make),
            None => {
                made = make();
                &made
            }
        };
        seconds.record(took);
        match code {
            OK => answered.increment(1),
            _ => counter!(GRPC, "method" => method, "code" => code).increment(1),
        }
    }
}

/// The code of an answer that is none of a failure.
const OK: &str = "OK";

/// A browser's request was answered with a status of this `class` (`2xx`, ..) after `took`.
pub fn http(class: &'static str, took: Duration) {
    counter!(HTTP, "class" => class).increment(1);
    histogram!(HTTP_SECONDS).record(took);
}

/// The writer committed `jobs` in one group, in `took`.
pub fn written(jobs: usize, took: Duration) {
    histogram!(WRITE_SECONDS).record(took);
    histogram!(WRITE_SIZE).record(u32::try_from(jobs).unwrap_or(u32::MAX));
}

/// The decision lane committed a group of `decisions` in `took`, and `waiting` wait by now.
pub fn decided(decisions: usize, waiting: usize, took: Duration) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    histogram!(DECISION_SECONDS).record(took);
    histogram!(DECISION_SIZE).record(count(decisions));
    gauge!(DECISIONS_WAITING).set(count(waiting));
}

/// A decision is made again.
pub fn overtaken() {
    counter!(OVERTAKEN).increment(1);
}

/// Checkpoints of audit chains were `written`, or `failed` to be.
pub fn checkpoints(outcome: &'static str, count: usize) {
    counter!(CHECKPOINTS, "outcome" => outcome).increment(count as u64);
}

/// A call was refused at the door.
pub fn shed() {
    counter!(SHED).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(act: impl FnOnce()) -> String {
        let recorder = builder().unwrap().build_recorder();
        ::metrics::with_local_recorder(&recorder, || {
            describe();
            act();
        });
        recorder.handle().render()
    }

    fn every_event() {
        ready(true);
        token_granted(false);
        token_refused("NOT_PERMITTED");
        refreshed("renewed", Duration::from_millis(200));
        lease_waited(Duration::from_millis(2));
        breaker(true);
        due(3);
        accounts("active", 2);
        interrupted(1);
        token_handed_out(Duration::from_secs(9), Duration::from_secs(9));
        session("imap", "opened");
        watchers(1);
        session_end("revoked");
        consent("connected");
        Calls::of("GetAccessToken").ended("OK", Duration::from_millis(1));
        http("2xx", Duration::from_millis(1));
        written(3, Duration::from_millis(4));
        decided(3, 1, Duration::from_millis(4));
        overtaken();
        shed();
        checkpoints("written", 2);
    }

    #[test]
    fn every_figure_of_the_list_is_counted_by_some_event_under_its_labels() {
        let shown = shown(every_event);
        for Metric { name, kind, labels, help } in ALL {
            assert!(shown.contains(&format!("# HELP {name} {help}")), "{name} has words");
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Seconds | Kind::Size => "histogram",
            };
            assert!(shown.contains(&format!("# TYPE {name} {kind}")), "{name} is a {kind}");
            for label in *labels {
                let labelled =
                    |line: &str| line.starts_with(name) && line.contains(&format!("{label}=\""));
                assert!(shown.lines().any(labelled), "{name} has {label}");
            }
        }
    }

    #[test]
    fn names_say_their_unit_as_prometheus_wants_it() {
        for Metric { name, kind, .. } in ALL {
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(*kind == Kind::Seconds, name.ends_with("_seconds"), "{name}");
        }
    }

    #[test]
    fn sizes_and_times_fall_into_buckets() {
        let shown = shown(every_event);
        assert!(shown.contains("token_broker_store_write_jobs_sum 3"), "{shown}");
        assert!(shown.contains("token_broker_refresh_seconds_bucket{le=\"0.25\"} 1"), "{shown}");
    }
}
