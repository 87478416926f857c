//! The transactions of a refresh, each of which happens at once.
//!
//! Never speaks to a provider. Invariants (unless one of them is broken on purpose): the lease, the intent and the time of the
//! next look are written with the decision to spend; an attempt that is gone was kept already; a generation that is gone was
//! given back. Next: `people`, the other writers.

use std::time::Duration;

use token_broker::clock::Time;
use token_broker::domain::account::Standing;
use token_broker::domain::refresh::admit::{Admission, Spend, admit};
use token_broker::domain::refresh::keep::{Brought, CarriedDoubts, Keeping, keep};
use token_broker::domain::refresh::settle::{LOST, Settlement, settle};
use token_broker::domain::refresh::{AppGate, Bearer, Demand, Generation, Ledger, schedule};
use token_broker::domain::refusal::{RefusalClass, Refused};

use super::chance::Chance;
use super::plan::{LEASE, Plan};
use super::provider::Answer;
use super::store::{Attempt, Owner, Row, Store, Stored};
use super::{Break, judge};

/// Nobody else probes a refused app for so long after somebody began to.
const ONE_PROBE: Duration = Duration::from_secs(20);

/// Who transacts, about which account, and what the clocks say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    pub(super) owner: Owner,
    pub(super) account: usize,
    /// The replica's clock.
    pub(super) now: Time,
    /// The database's clock.
    pub(super) clock: Time,
    pub(super) broken: Option<Break>,
}

/// A provider's answer on its way to the store; also what a spill file holds.
#[derive(Clone, Debug)]
pub(super) struct Bounty {
    pub(super) spend: Spend,
    pub(super) attempt: u64,
    pub(super) answer: Answer,
    pub(super) expires_at: Time,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Already,
    Unwanted,
}

impl Store {
    /// Decides, and takes lease and intent if a token is to be spent.
    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        hand: Hand,
        demand: &Demand,
    ) -> (Admission, u64, Ledger) {
        let Hand { owner, account, now, clock, broken } = hand;
        let rules = plan.rules(self.rows[account].app);
        let mut ledger = self.ledger(account, owner, None, clock);
        if broken == Some(Break::NoLease) {
            ledger.held = None;
        }
        if broken == Some(Break::NoSilence) {
            ledger.app = AppGate::Open;
        }
        let admission = admit(&ledger, demand, &rules, now);
        let attempt = self.next_attempt;
        match &admission {
            Admission::Spend(spend) => {
                self.next_attempt += 1;
                let lease = Duration::from_millis(LEASE.unsigned_abs());
                let row = &mut self.rows[account];
                if broken != Some(Break::NoLease) {
                    row.lease = Some((owner, clock.after(lease)));
                }
                if broken != Some(Break::NoIntent) {
                    let (generation, since) = (spend.generation, now);
                    row.attempts.push(Attempt {
                        id: attempt,
                        generation,
                        since,
                        owner,
                        outcome: None,
                    });
                }
                let app = row.app;
                self.set_due(account, Some(now.after(lease)));
                if let (true, AppGate::Rejected { refusals, .. }) = (spend.probe, self.gates[app]) {
                    let until = now.after(ONE_PROBE);
                    self.gates[app] = AppGate::Rejected { until, refusals };
                }
            }
            Admission::Rest { due_at } => self.set_due(account, *due_at),
            // What was in doubt of the provider's word is over: nothing is left that it could take.
            Admission::Dead => {
                self.rows[account].standing = Standing::NeedsConsent;
                self.set_due(account, None);
            }
            _ => {}
        }
        (admission, attempt, ledger)
    }

    /// Stores what the provider handed out.
    pub(super) fn keep(&mut self, plan: &Plan, hand: Hand, bounty: &Bounty) -> Fate {
        let Hand { owner, account, now, clock, broken } = hand;
        let Bounty { spend, attempt, answer, expires_at } = bounty;
        let row = &self.rows[account];
        let Some(spent) =
            row.generations.iter().find(|it| it.generation.number == spend.generation)
        else {
            return Fate::Unwanted;
        };
        let late = row.generations[0].generation.number > spend.newest;
        if late && broken == Some(Break::Overwrite) {
            return Fate::Unwanted;
        }
        let known = row.attempts.iter().any(|it| it.id == *attempt);
        if !known && !matches!(broken, Some(Break::KeepTwice | Break::NoIntent)) {
            return Fate::Already;
        }
        let mut token = answer.refresh.unwrap_or(spent.token);
        let ledger = self.ledger(account, owner, Some(*attempt), clock);
        let brought = Brought {
            refresh_token: answer.refresh.is_some(),
            grant_ends_at: None,
            expires_at: Some(*expires_at),
        };
        let rules = plan.rules(row.app);
        let keeping = keep(&ledger, spend, &brought, (&rules, now));
        let row = &mut self.rows[account];
        let parent = keeping.generation.parent;
        if keeping.generation.carried
            && let Some(it) = row.generations.iter().find(|it| it.generation.number == parent)
        {
            token = it.token;
        }
        row.last_number = row.last_number.max(keeping.generation.number);
        row.generations.insert(0, Stored { generation: keeping.generation, token });
        let used_at = row.tokens.first().and_then(|(bearer, _)| bearer.used_at);
        let bearer = bearer(keeping.generation.number, now, *expires_at, used_at);
        row.tokens = vec![(bearer, answer.access)];
        end_attempt(row, *attempt, &keeping);
        if spend.generation == spend.newest {
            let oldest = spend.newest - 2;
            row.generations.retain(|it| it.generation.number >= oldest);
        }
        release(&mut row.lease, owner);
        (row.failures, row.not_before) = (0, now);
        row.standing = keeping.standing.unwrap_or(row.standing);
        if let Some(app) = keeping.app {
            self.gates[self.rows[account].app] = app;
        }
        self.set_due(account, keeping.due_at);
        Fate::Kept
    }

    /// Writes a refusal down; `begun` is what was known when it began.
    pub(super) fn note(
        &mut self,
        plan: &Plan,
        hand: Hand,
        (spend, attempt, refused, begun): (&Spend, u64, &Refused, &Ledger),
        chance: &mut Chance,
    ) -> Option<Settlement> {
        let Hand { owner, account, now, clock, broken } = hand;
        let open =
            self.rows[account].attempts.iter().any(|it| it.id == attempt && it.outcome.is_none());
        if !open && !matches!(broken, Some(Break::NoteTwice | Break::NoIntent)) {
            // Written down already, though nobody heard of it; or there is nothing any more to write about.
            return None;
        }
        let rules = plan.rules(self.rows[account].app);
        let read = self.ledger(account, owner, Some(attempt), clock);
        let ledger = if broken == Some(Break::NoReread) { begun } else { &read };
        let mut end = settle(ledger, spend, refused, (&rules, now), chance);
        if broken == Some(Break::BelieveFirst) && refused.class == RefusalClass::NeedsConsent {
            end.standing = Some(Standing::NeedsConsent);
        }
        let row = &mut self.rows[account];
        if let Some(it) = row.attempts.iter_mut().find(|it| it.id == attempt) {
            it.outcome = Some(end.outcome);
        }
        release(&mut row.lease, owner);
        let given_back = row.standing == Standing::Revoked;
        if !given_back {
            let of_it = |it: &&mut Stored| it.generation.number == spend.generation;
            if let (Some(refusals), Some(it)) =
                (end.refusals, row.generations.iter_mut().find(of_it))
            {
                it.generation.refusals = refusals;
            }
            row.standing = end.standing.unwrap_or(row.standing);
            (row.failures, row.not_before) = (end.failures, end.not_before);
        }
        if let Some(app) = end.app {
            self.gates[self.rows[account].app] = app;
        }
        if !given_back {
            self.set_due(account, end.due_at);
        }
        Some(end)
    }

    /// What a replica does about its own past before it does anything else.
    pub(super) fn take_over(
        &mut self,
        plan: &Plan,
        (replica, life): Owner,
        now: Time,
        clock: Time,
    ) {
        for account in 0..self.rows.len() {
            let row = &mut self.rows[account];
            let dead = |owner: Owner| owner.0 == replica && owner.1 != life;
            if row.lease.is_some_and(|(owner, _)| dead(owner)) {
                row.lease = None;
            }
            let mut lost = false;
            for attempt in row.attempts.iter_mut().filter(|it| dead(it.owner)) {
                lost |= attempt.outcome.is_none();
                attempt.outcome.get_or_insert(LOST);
            }
            if lost {
                let rules = plan.rules(row.app);
                let ledger = self.ledger(account, (replica, life), None, clock);
                let due = schedule::due(&ledger, &rules, now).map(|(time, _)| time);
                self.set_due(account, due);
            }
        }
    }

    /// A finished consent.
    pub(super) fn consent(&mut self, plan: &Plan, account: usize, answer: Answer, now: Time) {
        let app = self.rows[account].app;
        let row = &mut self.rows[account];
        row.last_number += 1;
        let generation = Generation {
            number: row.last_number,
            parent: 0,
            received_at: now,
            ends_at: None,
            usable: true,
            carried: false,
            refusals: 0,
        };
        let token = answer.refresh.unwrap_or_default();
        row.generations.insert(0, Stored { generation, token });
        let expires_at = now.after(Duration::from_secs(plan.apps[app].life.unsigned_abs()));
        row.tokens = vec![(bearer(row.last_number, now, expires_at, Some(now)), answer.access)];
        (row.standing, row.failures, row.not_before) = (Standing::Active, 0, now);
        row.acknowledged = None;
        let ledger = self.ledger(account, (usize::MAX, 0), None, now);
        let due = schedule::due(&ledger, &plan.rules(app), now).map(|(time, _)| time);
        self.set_due(account, due);
    }

    /// A revocation.
    pub(super) fn revoke(&mut self, account: usize) {
        let row = &mut self.rows[account];
        row.ghost = row.tokens.pop();
        row.standing = Standing::Revoked;
        row.generations.clear();
        row.tokens.clear();
        row.attempts.clear();
        self.set_due(account, None);
    }
}

/// The attempt is over; others at a token that was carried over speak about its new number.
fn end_attempt(row: &mut Row, attempt: u64, keeping: &Keeping) {
    let own = row.attempts.iter().find(|it| it.id == attempt).map(|it| it.since);
    row.attempts.retain(|it| it.id != attempt);
    let parent = keeping.generation.parent;
    for it in row.attempts.iter_mut().filter(|it| it.generation == parent) {
        let moves = match keeping.doubts {
            CarriedDoubts::None => false,
            CarriedDoubts::Later => it.outcome.is_none() || own.is_none_or(|own| it.since >= own),
            CarriedDoubts::All => true,
        };
        if moves {
            it.generation = keeping.generation.number;
        }
    }
}

fn release(lease: &mut Option<(Owner, Time)>, owner: Owner) {
    if lease.is_some_and(|(holder, _)| holder == owner) {
        *lease = None;
    }
}

fn bearer(generation: i64, issued_at: Time, expires_at: Time, used_at: Option<Time>) -> Bearer {
    Bearer {
        audience: judge::AUDIENCE.to_owned(),
        generation,
        issued_at,
        expires_at,
        used_at,
        rejected: false,
    }
}
