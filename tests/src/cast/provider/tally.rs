//! Counts calls: by endpoint, by second and app, by mailbox; those in flight; those that came too early.
//!
//! Decides nothing and knows no HTTP. Everything that a caller can name is bounded: 64 apps, 65,536 calls, 86,400 seconds;
//! mailboxes are those of the ledger. Next: [`super::record`], where the results are put into words.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::faults::{Call, Endpoint};
use super::record::{CallRecord, Peak, Rate, Second, Stats, UserTruth};

const CALLS_MAX: usize = 65_536;
const SECONDS_MAX: usize = 86_400;
const NAMES_MAX: usize = 64;
const PATIENCE_MAX_S: i64 = 3600;

/// All counters.
#[derive(Debug, Default)]
pub struct Tally {
    stats: Stats,
    calls: VecDeque<CallRecord>,
    seconds: BTreeMap<i64, BTreeMap<String, u64>>,
    peak_by_app: BTreeMap<String, Peak>,
    users: HashMap<String, UserTruth>,
    in_flight: HashMap<String, u32>,
    patience: HashMap<String, i64>,
}

impl Tally {
    /// Counts a call that arrives now.
    pub fn count(&mut self, call: &Call, now: i64) {
        *self.stats.calls.entry(call.endpoint.name().to_owned()).or_default() += 1;
        if let Some(grant) = &call.grant_type {
            bump(&mut self.stats.grants, grant);
        }
        if call.endpoint == Endpoint::Token {
            self.count_second(call.client.as_deref().unwrap_or_default(), now);
        }
        if let Some(client) = &call.client
            && self.patience.get(client).is_some_and(|&until| now < until)
        {
            self.stats.early_calls += 1;
            bump(&mut self.stats.early_calls_by_app, client);
        }
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

    /// Takes a refresh off; how many are now in flight with its token.
    pub fn take_off(&mut self, token: &str, user: Option<&str>) -> u32 {
        self.stats.in_flight += 1;
        let with_token = self.in_flight.entry(token.to_owned()).or_default();
        *with_token += 1;
        let with_token = *with_token;
        if let Some(user) = user {
            let seen = self.users.entry(user.to_ascii_lowercase()).or_default();
            seen.refresh_calls += 1;
            seen.in_flight += 1;
            seen.max_concurrent = seen.max_concurrent.max(seen.in_flight);
            self.stats.max_concurrent = self.stats.max_concurrent.max(seen.max_concurrent);
        }
        with_token
    }

    /// Lands a refresh that took off.
    pub fn land(&mut self, token: &str, user: Option<&str>) {
        self.stats.in_flight = self.stats.in_flight.saturating_sub(1);
        match self.in_flight.get_mut(token) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.in_flight.remove(token)),
        }
        if let Some(seen) = user.and_then(|user| self.users.get_mut(&user.to_ascii_lowercase())) {
            seen.in_flight = seen.in_flight.saturating_sub(1);
        }
    }

    /// Remembers that `client` was told to wait; what it asks before that is over counts as early.
    pub fn told_to_wait(&mut self, client: &str, seconds: i64, now: i64) {
        let until = now + seconds.clamp(0, PATIENCE_MAX_S) * 1000;
        self.patience.insert(client.to_owned(), until);
    }

    /// The last calls.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.calls.iter().cloned().collect()
    }

    /// The numbers, as far as they are counted here.
    pub fn stats(&self) -> Stats {
        let of_user = |(user, seen): (&String, &UserTruth)| (user.clone(), seen.max_concurrent);
        let max_concurrent_by_user = self.users.iter().map(of_user).collect();
        Stats { max_concurrent_by_user, ..self.stats.clone() }
    }

    /// The calls of the token endpoint over time.
    pub fn rate(&self) -> Rate {
        let second = |(&second, by_app): (&i64, &BTreeMap<String, u64>)| Second {
            second,
            calls: by_app.values().sum(),
            by_app: by_app.clone(),
        };
        Rate {
            peak: self.stats.token_peak.clone(),
            peak_by_app: self.peak_by_app.clone(),
            seconds: self.seconds.iter().map(second).collect(),
        }
    }

    /// What was counted for one mailbox.
    pub fn user(&self, user: &str) -> UserTruth {
        self.users.get(&user.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    fn count_second(&mut self, app: &str, now: i64) {
        let second = now.div_euclid(1000);
        let by_app = self.seconds.entry(second).or_default();
        bump(by_app, app);
        let calls = by_app.values().sum();
        raise(&mut self.stats.token_peak, second, calls);
        let name = named(&self.peak_by_app, app);
        let of_app = by_app.get(&name).copied().unwrap_or(calls);
        raise(self.peak_by_app.entry(name).or_default(), second, of_app);
        if self.seconds.len() > SECONDS_MAX {
            self.seconds.pop_first();
        }
    }
}

fn raise(peak: &mut Peak, second: i64, calls: u64) {
    if calls > peak.calls {
        *peak = Peak { second, calls };
    }
}

/// Counts by a name that the caller chose.
fn bump(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(named(counts, name)).or_default() += 1;
}

/// The name to count by: past 64 of them the rest share one.
fn named<T>(known: &BTreeMap<String, T>, name: &str) -> String {
    let fits = known.len() < NAMES_MAX || known.contains_key(name);
    if fits { name.to_owned() } else { "other".to_owned() }
}
