//! What must always be true, checked when it could become untrue.
//!
//! Never corrects anything. Invariant: it knows what the provider knows, which the broker does not; what is excused is counted.
//! Next: `verdict`, the end.

use std::collections::HashSet;

use token_broker::domain::app::Rotation;
use token_broker::domain::refresh::admit::Spend;
use token_broker::domain::refusal::{RefusalClass, Refused};

use super::call::Call;
use super::plan::Plan;
use super::provider::Answer;
use super::replica::Caller;
use super::store::Owner;
use super::transact::Bounty;
use super::world::World;

/// What all tokens are for.
pub(super) const AUDIENCE: &str = "mail";

/// A replica that stood still for longer since it took the lease may have outlived it.
const STILL: i64 = 1_000;

/// What a disturbance touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Provider,
    Store,
    Clock,
    Replica(usize),
}

/// What the judge remembers.
#[derive(Debug)]
pub(super) struct Judge {
    /// Calls under way, by account: who, and since when it had the lease.
    under_way: Vec<Vec<(Owner, i64)>>,
    /// Refresh and access tokens that the store has, or had.
    refreshes: HashSet<usize>,
    accesses: HashSet<usize>,
    /// What lies in spill files: account, generation, token.
    pub(super) spilled: Vec<(usize, i64, usize)>,
    pub(super) disturbances: Vec<(i64, i64, Kind)>,
    /// The silence that each app was told and wrote down: when, until when.
    silences: Vec<(i64, i64)>,
    /// Room that each replica has for each app: level and when.
    room: Vec<Vec<(f64, i64)>>,
    pub(super) forced: u32,
    /// Attempts whose refusal counts.
    pub(super) counted: HashSet<u64>,
    pub(super) probed_from: i64,
}

impl Judge {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            under_way: vec![Vec::new(); plan.accounts.len()],
            refreshes: HashSet::new(),
            accesses: HashSet::new(),
            spilled: Vec::new(),
            disturbances: Vec::new(),
            silences: vec![(0, 0); plan.apps.len()],
            room: vec![vec![(f64::MAX, 0); plan.apps.len()]; plan.replicas],
            forced: 0,
            counted: HashSet::new(),
            probed_from: i64::MAX,
        }
    }

    pub(super) fn stored(&mut self, answer: Answer) {
        self.refreshes.extend(answer.refresh);
        self.accesses.insert(answer.access);
    }

    pub(super) fn has_stored(&self, refresh: usize) -> bool {
        self.refreshes.contains(&refresh)
    }

    pub(super) fn disturbed(&mut self, from: i64, to: i64, kind: Kind) {
        self.disturbances.push((from, to, kind));
    }

    /// A process is gone, and its calls with it.
    pub(super) fn gone(&mut self, replica: usize) {
        for calls in &mut self.under_way {
            calls.retain(|(owner, _)| owner.0 != replica);
        }
    }

    /// New buckets, or a clock that jumped: one more burst is no wonder.
    pub(super) fn restarted(&mut self, replica: usize) {
        for room in &mut self.room[replica] {
            room.0 = f64::MAX;
        }
    }

    pub(super) fn landed(&mut self, owner: Owner, account: usize) {
        self.under_way[account].retain(|(it, _)| *it != owner);
    }
}

impl World {
    /// A replica let a call through: its own count of an app's room, in true time.
    pub(super) fn judge_room(&mut self, replica: usize, app: usize) {
        let rate = self.plan.apps[app].rate;
        let burst = rate.max(1.0);
        let room = &mut self.judge.room[replica][app];
        let span =
            u32::try_from(self.now - room.1).map_or(f64::MAX, |span| f64::from(span) / 1000.0);
        room.0 = (room.0 + span * rate).min(burst) - 1.0;
        room.1 = self.now;
        if room.0 < -0.01 {
            self.break_with(format!(
                "rate: r{replica} lets more through for app {app} than {rate} a second"
            ));
        }
    }

    /// Room that was not used.
    pub(super) fn room_back(&mut self, replica: usize, app: usize) {
        self.judge.room[replica][app].0 += 1.0;
    }

    /// A decision to spend was committed.
    pub(super) fn judge_begin(&mut self, owner: Owner, account: usize, spend: &Spend) {
        let row = &self.store.rows[account];
        let app = row.app;
        let number = spend.generation;
        let spent = row.generations.iter().find(|it| it.generation.number == number);
        let Some(token) = spent.map(|it| it.token) else {
            return self.break_with(format!(
                "I5: a{account} spends generation {number}, which is not there"
            ));
        };
        let child =
            row.generations.iter().any(|it| it.generation.parent == number && it.token != token);
        if child && self.plan.apps[app].rotation == Rotation::Strict {
            self.break_with(format!(
                "I1: r{} a{account} sends generation {number} again although its child is stored",
                owner.0
            ));
        }
    }

    /// A call leaves a replica.
    pub(super) fn judge_call(&mut self, owner: Owner, call: &Call) {
        let account = call.account;
        let row = &self.store.rows[account];
        let there = row.generations.iter().any(|it| it.generation.number == call.spend.generation);
        if there && !row.attempts.iter().any(|it| it.id == call.attempt) {
            self.break_with(format!("intent: r{} a{account} asks without an intent", owner.0));
        }
        let me = &self.replicas[owner.0];
        let still = me.stood_still(call.begun_at, self.now);
        let other = self.judge.under_way[account].iter().find(|(other, since)| {
            *other != owner
                && still < STILL
                && self.replicas[other.0].stood_still(*since, self.now) < STILL
        });
        if let Some((other, _)) = other {
            let other = other.0;
            self.break_with(format!("I6: r{} asks for a{account} while r{other} does", owner.0));
        }
        self.judge.under_way[account].retain(|(it, _)| *it != owner);
        self.judge.under_way[account].push((owner, call.begun_at));
    }

    /// The provider is about to exchange a token.
    pub(super) fn judge_exchange(&mut self, owner: Owner, call: &Call) {
        let plan = &self.plan.apps[self.plan.accounts[call.account]];
        let token = &self.provider.tokens[call.token];
        let family = &self.provider.families[token.family];
        if family.account != call.account {
            self.break_with(format!(
                "I3: the token of a{} is sent for a{}",
                family.account, call.account
            ));
            return;
        }
        let kills = plan.kills_on_reuse
            && family.alive
            && token.spent_at.is_some()
            && !self.provider.takes(call.token, plan, self.now);
        let still = self.replicas[owner.0].stood_still(call.begun_at, self.now) >= STILL;
        let doubts = self.store.rows[call.account]
            .attempts
            .iter()
            .any(|it| it.id != call.attempt && it.generation == call.spend.generation);
        if kills && !call.spend.replay && !still && !doubts && self.lives(owner) {
            self.break_with(format!(
                "I1: a{} dies of a token that was sent again without a doubt",
                call.account
            ));
        }
    }

    /// An app's secret was refused.
    pub(super) fn judge_refused_app(&mut self, app: usize) {
        let state = &self.provider.apps[app];
        let accounts = self.plan.accounts.iter().filter(|it| **it == app).count();
        let span = self.now - state.expired_at;
        let lives: u32 = self.replicas.iter().map(|it| it.life).sum();
        let may = i64::try_from(accounts).unwrap_or(i64::MAX) * 2
            + span / 15_000
            + i64::from(self.judge.forced)
            + i64::from(lives)
            + 4;
        if i64::from(state.refused) > may && !self.plan.clocks {
            self.break_with(format!(
                "cost: app {app} was refused {} times in {span} ms, at most {may} are due",
                state.refused
            ));
        }
    }

    /// A call came while the provider wanted silence.
    pub(super) fn judge_silence(&mut self, call: &Call) {
        let app = self.plan.accounts[call.account];
        let (noted, until) = self.judge.silences[app];
        if call.begun_at > noted && self.now < until && !self.plan.clocks {
            let (begun, left) = (call.begun_at - noted, until - self.now);
            self.break_with(format!(
                "silence: a{} was begun {begun} ms after the wish for silence was noted, {left} ms before its end",
                call.account
            ));
        }
    }

    /// A refusal was written down.
    pub(super) fn judge_note(&mut self, account: usize, refused: &Refused) {
        let app = self.plan.accounts[account];
        if refused.class == RefusalClass::Throttled {
            self.judge.silences[app] = (self.now, self.provider.apps[app].silent_until);
        }
    }

    /// An answer was stored.
    pub(super) fn judge_kept(&mut self, account: usize, before: i64, bounty: &Bounty) {
        let generations = &self.store.rows[account].generations;
        let Some(newest) = generations.first() else { return };
        let (number, parent) = (newest.generation.number, newest.generation.parent);
        let twice = generations
            .iter()
            .filter(|it| bounty.answer.refresh == Some(it.token) && !it.generation.carried);
        if number <= before {
            self.break_with(format!("I5: a{account} got generation {number} after {before}"));
        } else if !generations.iter().any(|it| it.generation.number == parent)
            && number - parent < 4
        {
            self.break_with(format!("I5: a{account} got generation {number} of a wrong parent"));
        } else if twice.count() > 1 {
            self.break_with(format!("I5: a{account} has one token under two numbers"));
        }
    }

    /// An account became one that needs consent.
    pub(super) fn judge_dead(&mut self, account: usize, why: &str) {
        let row = &self.store.rows[account];
        let plan = &self.plan.apps[row.app];
        let living =
            row.generations.iter().find(|it| self.provider.takes(it.token, plan, self.now));
        if let Some(living) = living
            && !self.plan.clocks
        {
            let number = living.generation.number;
            self.break_with(format!(
                "I1: a{account} needs consent ({why}), but the provider would take generation {number}"
            ));
        }
    }

    /// A token is handed out.
    pub(super) fn judge_grant(&mut self, account: usize, access: usize, caller: Option<Caller>) {
        self.out.granted += 1;
        let row = &self.store.rows[account];
        if self.provider.accesses[access].account != account {
            self.break_with(format!("I3: a{account} is given somebody else's token"));
        } else if !self.judge.accesses.contains(&access) {
            self.break_with(format!("P4: a{account} hands out a token before it is stored"));
        } else if let (Some(caller), Some(at)) = (caller, row.acknowledged)
            && caller.since > at
        {
            self.break_with(format!(
                "I2: a{account} is handed out {} ms after its revocation was acknowledged",
                caller.since - at
            ));
        }
    }
}
