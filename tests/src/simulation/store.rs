//! The store: rows, and transactions that happen at once or not at all.
//!
//! Never decides anything about refreshes: it calls the core with what it read, as the real transactions do, and writes what
//! the core said. Invariant: what is in here survives every crash. Next: `transact`, the transactions.

use std::time::Duration;

use token_broker::clock::Time;
use token_broker::domain::account::Standing;
use token_broker::domain::refresh::settle::LOST;
use token_broker::domain::refresh::{AppGate, Bearer, Doubt, Generation, Ledger, Spread};

use super::plan::Plan;

/// One start of one replica.
pub(super) type Owner = (usize, u32);

/// A generation and the refresh token in it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) generation: Generation,
    pub(super) token: usize,
}

/// The intent to spend a token, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) generation: i64,
    pub(super) since: Time,
    pub(super) owner: Owner,
    /// None while it is open.
    pub(super) outcome: Option<&'static str>,
}

/// One account.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) app: usize,
    pub(super) standing: Standing,
    /// Newest first.
    pub(super) generations: Vec<Stored>,
    /// The highest number there ever was.
    pub(super) last_number: i64,
    pub(super) attempts: Vec<Attempt>,
    /// Access tokens, with the provider's name for each.
    pub(super) tokens: Vec<(Bearer, usize)>,
    pub(super) lease: Option<(Owner, Time)>,
    pub(super) not_before: Time,
    pub(super) failures: u32,
    pub(super) due_at: Option<Time>,
    pub(super) spread: Spread,
    /// When its revocation was acknowledged to somebody, in true time.
    pub(super) acknowledged: Option<i64>,
    /// What a replica with stale rights would still hand out; for `--break stale-rights`.
    pub(super) ghost: Option<(Bearer, usize)>,
}

/// All rows.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) rows: Vec<Row>,
    pub(super) gates: Vec<AppGate>,
    /// Its clock, against the true time.
    pub(super) skew: i64,
    /// Away until then, in true time.
    pub(super) down_until: i64,
    pub(super) next_attempt: u64,
}

impl Store {
    pub(super) fn of(plan: &Plan, spreads: &[u16]) -> Self {
        let row = |(account, app): (usize, &usize)| Row {
            app: *app,
            standing: Standing::Pending,
            generations: Vec::new(),
            last_number: 0,
            attempts: Vec::new(),
            tokens: Vec::new(),
            lease: None,
            not_before: Time::default(),
            failures: 0,
            due_at: None,
            spread: Spread::from_roll(spreads[account]),
            acknowledged: None,
            ghost: None,
        };
        Self {
            rows: plan.accounts.iter().enumerate().map(row).collect(),
            gates: vec![AppGate::Open; plan.apps.len()],
            skew: 0,
            down_until: 0,
            next_attempt: 1,
        }
    }

    /// What the core is told of an account; `of` is the attempt that is being ended, which is no doubt any more.
    pub(super) fn ledger(
        &self,
        account: usize,
        viewer: Owner,
        of: Option<u64>,
        clock: Time,
    ) -> Ledger {
        let row = &self.rows[account];
        let held = row.lease.filter(|(owner, until)| *owner != viewer && *until > clock);
        let doubtful = row.attempts.iter().filter(|attempt| {
            Some(attempt.id) != of && attempt.outcome.is_none_or(|outcome| outcome == LOST)
        });
        Ledger {
            standing: row.standing,
            generations: row.generations.iter().map(|stored| stored.generation).collect(),
            doubts: doubtful
                .map(|attempt| Doubt { generation: attempt.generation, since: attempt.since })
                .collect(),
            tokens: row.tokens.iter().map(|(bearer, _)| bearer.clone()).collect(),
            held: held.map(|(_, until)| clock.until(until)),
            not_before: row.not_before,
            failures: row.failures,
            app: self.gates[row.app],
            spread: row.spread,
        }
    }

    /// Writes down when the account is due.
    pub(super) fn set_due(&mut self, account: usize, due_at: Option<Time>) {
        self.rows[account].due_at = due_at;
    }

    /// The accounts that are due; also those whose time is further away than any real one can be.
    pub(super) fn due(&self, now: Time) -> Vec<usize> {
        let far = now.after(Duration::from_secs(400 * 24 * 3600));
        let is_due = |row: &Row| row.due_at.is_some_and(|due| due <= now || due > far);
        self.rows.iter().enumerate().filter(|(_, row)| is_due(row)).map(|it| it.0).collect()
    }
}
