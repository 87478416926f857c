//! What all endpoints share: settings, book, faults, clock, keys, counters.
//!
//! One lock guards the whole state, it is never held over an await, and each request is processed under it at once: a
//! client that goes away cannot leave half a refresh behind. Next: [`super::stage`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::codes::Codes;
use super::faults::{Call, FaultBook};
use super::keys::Keys;
use super::ledger::{Grant, Ledger};
use super::record::{Snapshot, Stats, UserTruth};
use super::settings::ProviderSettings;
use super::tally::Tally;
use crate::cast::clock::Clock;

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
    /// The counters.
    pub tally: Tally,
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
            tally: Tally::default(),
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
        state.tally.count(call, self.clock.now_ms());
        let Some(token) = call.refresh_token.clone() else {
            return InFlight { sim: self.clone(), refresh: None };
        };
        let with_token = state.tally.take_off(&token, call.login.as_deref());
        state.ledger.note_concurrent(&token, with_token);
        InFlight { sim: self.clone(), refresh: Some((token, call.login.clone())) }
    }

    /// The ground truth now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            now_ms: self.clock.now_ms(),
            tokens: state.ledger.records().to_vec(),
            reuse: state.ledger.reuse().to_vec(),
            calls: state.tally.calls(),
        }
    }

    /// The numbers now.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        let reuse = state.ledger.reuse();
        Stats {
            faults: state.faults.acted(),
            reuse: reuse.len() as u64,
            reuse_kills: reuse.iter().filter(|reuse| reuse.killed).count() as u64,
            tokens: state.ledger.records().len() as u64,
            ..state.tally.stats()
        }
    }

    /// What is known of one mailbox.
    pub fn user(&self, user: &str) -> UserTruth {
        self.state().user(user, self.clock.now_ms())
    }

    /// What is known of every mailbox that ever had a token.
    pub fn users(&self) -> BTreeMap<String, UserTruth> {
        let (state, now) = (self.state(), self.clock.now_ms());
        state.ledger.users().map(|user| (user.to_owned(), state.user(user, now))).collect()
    }

    /// Issues a first pair of tokens to each of `users`, as if they had consented; the refresh tokens.
    pub fn issue(
        &self,
        users: impl IntoIterator<Item = String>,
        client: &str,
        scope: &str,
    ) -> BTreeMap<String, String> {
        let now = self.clock.now_ms();
        let mut state = self.state();
        let State { ledger, settings, .. } = &mut *state;
        let mut tokens = BTreeMap::new();
        for user in users {
            let (client, scope) = (client.to_owned(), scope.to_owned());
            let grant = Grant { user: user.clone(), client, scope };
            let issued = ledger.open(&grant, settings, now);
            tokens.extend(issued.refresh.map(|refresh| (user, refresh.token)));
        }
        tokens
    }
}

impl State {
    fn user(&self, user: &str, now: i64) -> UserTruth {
        let reuse = self.ledger.reuse_of(user);
        let current = self.ledger.current_refresh(user, now).cloned();
        UserTruth { reuse, current, ..self.tally.user(user) }
    }
}

/// The name of a made-up mailbox: `user-000042@example.test`.
pub fn numbered_user(number: usize) -> String {
    format!("user-{number:06}@example.test")
}

/// Keeps a refresh counted as in flight.
#[derive(Debug)]
pub struct InFlight {
    sim: Sim,
    refresh: Option<(String, Option<String>)>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some((token, user)) = &self.refresh {
            self.sim.state().tally.land(token, user.as_deref());
        }
    }
}
