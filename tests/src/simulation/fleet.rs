//! Millions of accounts for a month: only the schedule, the bucket and the breaker, second by second.
//!
//! Never models a refresh beyond "it worked" or "the provider is away". Invariants: the times come from the product's own
//! `schedule`, the gates are the product's own; an account costs a few bytes, so that the figures are those of a real fleet.
//! Next: `schedule.rs` and `gate.rs` of the core.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::clock::Time;
use token_broker::domain::account::Standing;
use token_broker::domain::app::Rotation;
use token_broker::domain::refresh::gate::{Breaker, Bucket};
use token_broker::domain::refresh::{
    AppGate, Bearer, Dice, Generation, Ledger, Rules, Spread, Urgency, schedule,
};

use super::chance::Chance;

/// How long an access token lives, in seconds.
const LIFE: u32 = 3600;
/// Of a hundred accounts, so many are asked for all the time.
const WARM: u32 = 5;
/// How long the provider is away, in seconds; in the middle.
const AWAY: u32 = 3600;
/// How long the broker is away when it restarts, in seconds; after three quarters.
const RESTART: u32 = 30;
/// When it begins, in seconds: far enough from zero for grants that were given before.
const BEGINNING: u32 = 200 * 86_400;
/// How often in a second the gates are tried.
const STEPS: u32 = 4;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many accounts.
    pub accounts: u32,
    /// For how long.
    pub days: u32,
    /// Calls a second; chosen by the need if none.
    pub rate: Option<f64>,
    /// Where the randomness comes from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Refreshes that worked.
    pub refreshes: u64,
    /// Calls that the provider's outage swallowed.
    pub failed: u64,
    /// Tokens of warm accounts that ended before they were renewed, without the outage as a reason.
    pub late: u64,
    /// The same during the outage and until the fleet had caught up.
    pub late_by_outage: u64,
    /// Grants that rested longer than the provider's idle clock allows.
    pub idle_deaths: u64,
    /// Most calls in one second, before and after the end of the outage.
    pub peak: (u32, u32),
    /// Seconds in which more calls were made than the rate and the burst allow.
    pub exceeded: u64,
    /// Seconds after the outage until nothing was overdue any more.
    pub caught_up: Option<u32>,
    /// Calls a second that were allowed.
    pub rate: f64,
    /// Bytes of all accounts and the calendar, by the model's own count.
    pub bytes: usize,
    /// What the process took of the machine's memory, in MiB.
    pub resident_mib: Option<u64>,
}

impl Found {
    /// Whether everything promised was kept.
    pub fn is_good(&self) -> bool {
        self.late == 0 && self.exceeded == 0 && self.idle_deaths == 0
    }

    /// For people and programs.
    pub fn figures(&self, plan: &Plan, seconds: f64) -> Value {
        json!({
            "accounts": plan.accounts,
            "days": plan.days,
            "refreshes": self.refreshes,
            "calls_into_the_outage": self.failed,
            "late": self.late,
            "late_by_the_outage": self.late_by_outage,
            "idle_deaths": self.idle_deaths,
            "rate": self.rate,
            "peak_before_the_outage_ended": self.peak.0,
            "peak_afterwards": self.peak.1,
            "seconds_beyond_the_limit": self.exceeded,
            "caught_up_after_s": self.caught_up,
            "model_bytes_per_account": self.bytes / plan.accounts.max(1) as usize,
            "resident_mib": self.resident_mib,
            "seconds": seconds,
        })
    }
}

/// All accounts: ten bytes each, and a list for each second of who is due then.
struct Fleet {
    /// When its token came, in seconds.
    issued: Vec<u32>,
    /// Its place in every span.
    spread: Vec<u16>,
    /// Who else is due in the same second.
    next: Vec<u32>,
    /// The first who is due, for each second.
    due: Vec<u32>,
    warm: u32,
}

/// The end of a list.
const NOBODY: u32 = u32::MAX;

/// The gates of the only replica, and the provider's own count.
struct Gates {
    bucket: Bucket,
    breaker: Breaker,
    /// Calls that the provider would still take.
    allowed: f64,
    rate: f64,
}

/// Plays it; `told` hears of each hour that passed.
pub fn run(plan: &Plan, told: &mut dyn FnMut(u64)) -> Found {
    let mut chance = Chance::of(plan.seed);
    let seconds = plan.days * 86_400;
    let mut fleet = Fleet::of(plan, seconds, &mut chance);
    let cold = f64::from(plan.accounts - fleet.warm);
    let need = f64::from(fleet.warm) / (f64::from(LIFE) / 2.0) + cold / (58.0 * 86_400.0);
    let rate = plan.rate.unwrap_or((need * 1.2).max(1.0));
    let mut found = Found { rate, ..Found::default() };
    let mut gates = Gates::of(rate, BEGINNING);
    let outage = seconds / 2..seconds / 2 + AWAY;
    let restart = seconds / 4 * 3..seconds / 4 * 3 + RESTART;
    let mut overdue = VecDeque::new();
    for now in 0..seconds {
        if now % 3600 == 0 {
            told(u64::from(now / 3600));
        }
        fleet.take_due(now, &mut overdue);
        if restart.contains(&now) {
            // Bucket and breaker are new afterwards; what is due is due still: it stands in the database.
            gates = Gates::of(rate, BEGINNING + now);
            continue;
        }
        let excused = now >= outage.start && found.caught_up.is_none();
        let second = Second { now, away: outage.contains(&now), excused };
        let calls = gates.play(second, &mut overdue, &mut fleet, (&mut found, &mut chance));
        let after = now >= outage.end;
        let peak = if after { &mut found.peak.1 } else { &mut found.peak.0 };
        *peak = (*peak).max(calls);
        if after && found.caught_up.is_none() && overdue.is_empty() {
            found.caught_up = Some(now - outage.end);
        }
    }
    told(u64::from(seconds / 3600));
    found.bytes = plan.accounts as usize * 10 + fleet.due.len() * 4 + overdue.capacity() * 4;
    found.resident_mib = resident_mib();
    found
}

/// One second, and what is wrong in it.
#[derive(Clone, Copy)]
struct Second {
    now: u32,
    away: bool,
    excused: bool,
}

impl Gates {
    fn of(rate: f64, now: u32) -> Self {
        let bucket = Bucket::new(rate, at(now));
        Self { bucket, breaker: Breaker::default(), allowed: rate.max(1.0), rate }
    }

    /// Lets through as many of those who are overdue as the gates allow; how many called.
    fn play(
        &mut self,
        second: Second,
        overdue: &mut VecDeque<u32>,
        fleet: &mut Fleet,
        (found, chance): (&mut Found, &mut Chance),
    ) -> u32 {
        let mut calls = 0;
        for step in 0..STEPS {
            let time = at(BEGINNING + second.now)
                .after(Duration::from_millis(u64::from(1000 / STEPS * step)));
            let more = self.rate / f64::from(STEPS);
            self.allowed = (self.allowed + more).min(self.rate.max(1.0));
            while let Some(account) = overdue.front().copied() {
                if self.breaker.pass(time).is_err() {
                    break;
                }
                if self.bucket.take(Urgency::Scheduled, time).is_err() {
                    self.breaker.give_back();
                    break;
                }
                overdue.pop_front();
                calls += 1;
                self.allowed -= 1.0;
                if self.allowed < -0.001 {
                    found.exceeded += 1;
                }
                if second.away {
                    found.failed += 1;
                    self.breaker.failed(time, chance);
                    let again = schedule::retry(1, None, time, chance);
                    fleet.put(account, seconds_of(again) + 1 - BEGINNING);
                } else {
                    self.breaker.answered();
                    fleet.renew(account, second, found);
                }
            }
        }
        calls
    }
}

impl Fleet {
    fn of(plan: &Plan, seconds: u32, chance: &mut Chance) -> Self {
        let count = plan.accounts as usize;
        let warm = plan.accounts / 100 * WARM;
        let mut fleet = Self {
            issued: vec![BEGINNING; count],
            spread: (0..count).map(|_| chance.roll()).collect(),
            next: vec![NOBODY; count],
            due: vec![NOBODY; seconds as usize],
            warm,
        };
        // Their tokens came one after another, in the time before: within a half life, or within some weeks.
        for account in 0..plan.accounts {
            let span = i64::from(fleet.due_after(account) - BEGINNING);
            let ago = u32::try_from(chance.within(0, span)).unwrap_or(0);
            fleet.issued[account as usize] = BEGINNING - ago;
            let due = fleet.due_after(account);
            fleet.put(account, due.saturating_sub(BEGINNING));
        }
        fleet
    }

    /// A refresh that worked.
    fn renew(&mut self, account: u32, second: Second, found: &mut Found) {
        found.refreshes += 1;
        let now = BEGINNING + second.now;
        let age = now - self.issued[account as usize];
        if account >= self.warm {
            found.idle_deaths += u64::from(age >= IDLE);
        } else if age >= LIFE {
            *(if second.excused { &mut found.late_by_outage } else { &mut found.late }) += 1;
        }
        self.issued[account as usize] = now;
        let due = self.due_after(account);
        self.put(account, due - BEGINNING);
    }

    /// When it is due after its token came: the core's own word on it.
    fn due_after(&self, account: u32) -> u32 {
        let spread = Spread::from_roll(self.spread[account as usize]);
        let issued = self.issued[account as usize];
        if account < self.warm {
            let bearer = Bearer {
                audience: String::new(),
                generation: 1,
                issued_at: at(issued),
                expires_at: at(issued + LIFE),
                used_at: Some(at(issued)),
                rejected: false,
            };
            return seconds_of(schedule::half_life(&bearer, spread));
        }
        let generation = Generation {
            number: 1,
            parent: 0,
            received_at: at(issued),
            ends_at: None,
            usable: true,
            carried: false,
            refusals: 0,
        };
        let ledger = Ledger {
            standing: Standing::Active,
            generations: vec![generation],
            doubts: Vec::new(),
            tokens: Vec::new(),
            held: None,
            not_before: at(0),
            failures: 0,
            app: AppGate::Open,
            spread,
        };
        schedule::idle_end(&ledger, &RULES, at(issued)).map_or(u32::MAX, seconds_of)
    }

    /// Puts an account down for a second; nobody waits for what is after the end.
    fn put(&mut self, account: u32, due: u32) {
        if let Some(first) = self.due.get_mut(due as usize) {
            self.next[account as usize] = std::mem::replace(first, account);
        }
    }

    fn take_due(&mut self, now: u32, overdue: &mut VecDeque<u32>) {
        let mut account = std::mem::replace(&mut self.due[now as usize], NOBODY);
        while account != NOBODY {
            overdue.push_back(account);
            account = self.next[account as usize];
        }
    }
}

/// The provider's idle clock, in seconds.
const IDLE: u32 = 90 * 86_400;

const RULES: Rules = Rules {
    rotation: Rotation::Replace,
    grace: Duration::ZERO,
    idle: Some(Duration::from_secs(IDLE as u64)),
    confirm_after: Duration::from_secs(30),
    lease: Duration::from_secs(15),
};

fn at(seconds: u32) -> Time {
    Time::from_millis(i64::from(seconds) * 1000)
}

fn seconds_of(time: Time) -> u32 {
    u32::try_from(time.seconds()).unwrap_or(u32::MAX)
}

/// What the process takes of the machine's memory, if it says so.
fn resident_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096 / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(rate: Option<f64>) -> Found {
        run(&Plan { accounts: 2_000, days: 1, rate, seed: 1 }, &mut |_| {})
    }

    #[test]
    fn no_warm_token_ends_before_it_is_renewed_and_the_rate_is_kept() {
        let found = small(None);
        assert!(found.is_good(), "{found:?}");
        assert!(found.refreshes > 100 * 40, "{found:?}");
        assert!(found.caught_up.is_some(), "{found:?}");
    }

    #[test]
    fn a_rate_that_is_too_small_is_seen_as_late_tokens() {
        assert!(small(Some(1.0 / 40.0)).late > 0);
    }
}
