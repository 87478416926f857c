//! What all endpoints share: settings, book, faults, clock, keys, counters.
//!
//! One lock guards the whole state, it is never held over an await, and each request is processed under it at once: a
//! client that goes away cannot leave half a refresh behind. Next: [`super::stage`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::codes::Codes;
use super::faults::{Call, FaultBook};
use super::keys::Keys;
use super::ledger::Ledger;
use super::record::{CallRecord, Snapshot, Stats};
use super::settings::ProviderSettings;
use crate::cast::clock::Clock;

const CALLS_MAX: usize = 65_536;
const PATIENCE_MAX_S: i64 = 3600;

/// The simulator behind every handler.
#[derive(Clone, Debug)]
pub struct Sim {
    /// Its own name, such as `http://127.0.0.1:8080`.
    pub issuer: Arc<str>,
    /// Its time of day.
    pub clock: Clock,
    /// Its signing keys.
    pub keys: Arc<Keys>,
    /// Cancelled when it stops; ends hanging calls.
    pub stopping: CancellationToken,
    state: Arc<Mutex<State>>,
}

/// Everything that changes.
#[derive(Debug)]
pub struct State {
    /// The knobs.
    pub settings: ProviderSettings,
    /// The tokens.
    pub ledger: Ledger,
    /// The rules of misbehaviour.
    pub faults: FaultBook,
    /// Consents under way.
    pub codes: Codes,
    counters: Stats,
    calls: VecDeque<CallRecord>,
    in_flight: HashMap<String, u32>,
    patience: HashMap<String, i64>,
}

impl Sim {
    /// A simulator with an empty book.
    pub fn new(
        issuer: &str,
        settings: ProviderSettings,
        keys: Keys,
        stopping: CancellationToken,
    ) -> Self {
        let state = State {
            ledger: Ledger::new(settings.seed),
            faults: FaultBook::default(),
            codes: Codes::default(),
            counters: Stats::default(),
            calls: VecDeque::new(),
            in_flight: HashMap::new(),
            patience: HashMap::new(),
            settings,
        };
        let clock = state.settings.frozen_at_ms.map_or_else(Clock::running, Clock::frozen);
        Self {
            issuer: issuer.into(),
            clock,
            keys: Arc::new(keys),
            stopping,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The state, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and, when it is a refresh, keeps it in flight until the guard is dropped.
    pub fn arrive(&self, call: &Call) -> InFlight {
        let mut state = self.state();
        state.count(call, self.clock.now_ms());
        InFlight { sim: self.clone(), keys: state.take_off(call) }
    }

    /// The ground truth now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            now_ms: self.clock.now_ms(),
            tokens: state.ledger.records().to_vec(),
            reuse: state.ledger.reuse().to_vec(),
            calls: state.calls.iter().cloned().collect(),
        }
    }

    /// The numbers now.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            faults: state.faults.acted(),
            reuse: state.ledger.reuse().len() as u64,
            tokens: state.ledger.records().len() as u64,
            ..state.counters.clone()
        }
    }

    /// Remembers that `client` was told to wait; what it asks before that is over counts as early.
    pub fn told_to_wait(&self, client: &str, seconds: i64) {
        let until = self.clock.now_ms() + seconds.clamp(0, PATIENCE_MAX_S) * 1000;
        self.state().patience.insert(client.to_owned(), until);
    }
}

impl State {
    fn count(&mut self, call: &Call, now: i64) {
        *self.counters.calls.entry(call.endpoint.name().to_owned()).or_default() += 1;
        if let Some(grant) = &call.grant_type {
            bump(&mut self.counters.grants, grant);
        }
        let told = call.client.as_ref().and_then(|client| self.patience.get(client));
        self.counters.early_calls += u64::from(told.is_some_and(|&until| now < until));
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(CallRecord {
            at_ms: now,
            endpoint: call.endpoint,
            grant_type: call.grant_type.clone(),
            client: call.client.clone(),
            login: call.login.clone(),
        });
    }

    fn take_off(&mut self, call: &Call) -> Vec<String> {
        let Some(token) = &call.refresh_token else { return Vec::new() };
        let with_token = rise(&mut self.in_flight, format!("token {token}"));
        self.ledger.note_concurrent(token, with_token);
        let mut keys = vec![format!("token {token}")];
        if let Some(user) = &call.login {
            let with_user = rise(&mut self.in_flight, format!("user {user}"));
            let most = self.counters.max_concurrent_by_user.entry(user.clone()).or_default();
            *most = (*most).max(with_user);
            keys.push(format!("user {user}"));
        }
        keys
    }
}

/// Keeps a refresh counted as in flight.
#[derive(Debug)]
pub struct InFlight {
    sim: Sim,
    keys: Vec<String>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.sim.state();
        for key in &self.keys {
            match state.in_flight.get_mut(key) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.in_flight.remove(key)),
            }
        }
    }
}

fn rise(in_flight: &mut HashMap<String, u32>, key: String) -> u32 {
    let count = in_flight.entry(key).or_default();
    *count += 1;
    *count
}

/// Counts by a name that the caller chose; past 64 names the rest share one.
fn bump(counts: &mut BTreeMap<String, u64>, name: &str) {
    let known = counts.len() < 64 || counts.contains_key(name);
    *counts.entry(if known { name.to_owned() } else { "other".to_owned() }).or_default() += 1;
}
