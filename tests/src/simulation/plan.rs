//! What one seed is about: how many replicas and accounts, which providers, and how much goes wrong.
//!
//! Never changes during a run. Invariant: drawn from the seed alone. Next: `world` runs it.

use std::time::Duration;

use token_broker::domain::app::Rotation;
use token_broker::domain::refresh::Rules;

use super::chance::Chance;

/// How long the provider takes a spent token where it has a grace, in milliseconds.
pub(super) const GRACE: i64 = 30_000;
/// How long the lease of an account lasts, in milliseconds.
pub(super) const LEASE: i64 = 15_000;
/// How long a caller of the provider waits for its answer, in milliseconds.
pub(super) const DEADLINE: i64 = 10_000;
/// How long after the faults nothing is judged yet: the longest pause after failures, twice, and two leases.
const SETTLE: i64 = 45 * 60_000;
/// The same where clocks were wrong by an hour.
const SETTLE_CLOCKS: i64 = 150 * 60_000;

/// One app and its provider.
#[derive(Clone, Debug)]
pub(super) struct AppPlan {
    pub(super) rotation: Rotation,
    /// A token that is used again kills all of its grant.
    pub(super) kills_on_reuse: bool,
    /// Answers without a refresh token, of a thousand.
    pub(super) silent: u32,
    /// Calls a second that each replica may make.
    pub(super) rate: f64,
    /// How long access tokens live, in seconds.
    pub(super) life: i64,
    /// Which token endpoint it uses.
    pub(super) endpoint: usize,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) replicas: usize,
    /// The database is a file of the only replica, and has its clock.
    pub(super) single: bool,
    pub(super) apps: Vec<AppPlan>,
    /// The app of each account.
    pub(super) accounts: Vec<usize>,
    /// How long things go wrong, in milliseconds.
    pub(super) rough: i64,
    /// Mean pause between two faults.
    pub(super) fault_gap: i64,
    /// Calls to the provider that go wrong, of a thousand.
    pub(super) call_trouble: u32,
    /// Transactions that fail, before or after their commit, of a thousand.
    pub(super) store_trouble: u32,
    /// Faults that come at the worst moment of a refresh, of a thousand.
    pub(super) aimed: u32,
    /// Mean pause between two callers.
    pub(super) caller_gap: i64,
    /// Mean pause between two acts of owners and operators.
    pub(super) people_gap: i64,
    /// Clocks may be wrong.
    pub(super) clocks: bool,
}

impl Plan {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let replicas = [1, 1, 2, 2, 3, 3, 4, 5][chance.pick(8)];
        let apps: Vec<AppPlan> = (0..1 + chance.pick(2)).map(|at| app(at, chance)).collect();
        let count = [1, 2, 3, 5, 8, 20][chance.pick(6)];
        let accounts = (0..count).map(|_| chance.pick(apps.len())).collect();
        let calm = chance.permille(400);
        Self {
            replicas,
            single: replicas == 1 && chance.permille(500),
            apps,
            accounts,
            rough: 60_000 * chance.within(4, 20),
            fault_gap: if calm { 150_000 } else { chance.within(10_000, 60_000) },
            call_trouble: if calm { 5 } else { [0, 30, 150][chance.pick(3)] },
            store_trouble: if calm { 3 } else { [0, 20, 100][chance.pick(3)] },
            aimed: if calm { 5 } else { [0, 20, 60][chance.pick(3)] },
            caller_gap: chance.within(1_000, 12_000),
            people_gap: chance.within(40_000, 300_000),
            clocks: chance.permille(250),
        }
    }

    /// How long everything has to come right again by itself.
    pub(super) const fn settle(&self) -> i64 {
        if self.clocks { SETTLE_CLOCKS } else { SETTLE }
    }

    pub(super) fn rules(&self, app: usize) -> Rules {
        Rules {
            rotation: self.apps[app].rotation,
            grace: Duration::from_millis(GRACE.unsigned_abs()),
            idle: Some(Duration::from_secs(90 * 24 * 3600)),
            confirm_after: Duration::from_secs(30),
            lease: Duration::from_millis(LEASE.unsigned_abs()),
        }
    }
}

fn app(at: usize, chance: &mut Chance) -> AppPlan {
    let all = [Rotation::None, Rotation::Replace, Rotation::Grace, Rotation::Strict];
    let rotation = all[chance.pick(4)];
    AppPlan {
        rotation,
        kills_on_reuse: rotation == Rotation::Strict
            || (rotation == Rotation::Grace && chance.permille(500)),
        silent: [0, 0, 50, 500][chance.pick(4)],
        rate: [0.5, 2.0, 10.0][chance.pick(3)],
        life: [120, 300, 600, 3600][chance.pick(4)],
        endpoint: if chance.permille(500) { 0 } else { at },
    }
}
