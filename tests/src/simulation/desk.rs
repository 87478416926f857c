//! Transactions on their way: they arrive late, fail, or are committed without anybody hearing of it.
//!
//! Never half of one. Invariant: what a replica is told of a commit may be wrong in one direction only: it is told of a failure,
//! and it happened. Next: `transact`.

use std::time::Duration;

use token_broker::domain::account::Standing;
use token_broker::domain::refresh::admit::{Admission, Spend};
use token_broker::domain::refresh::flight::Event;
use token_broker::domain::refresh::settle::Settlement;
use token_broker::domain::refresh::{Ledger, schedule};
use token_broker::domain::refusal::Refused;

use super::Break;
use super::replica::{Caller, Mail, Payload, Phase};
use super::store::{Owner, Stored};
use super::transact::{Bounty, Fate, Hand};
use super::world::{Happening, Tx, World};

/// How long stale rights are believed by a broker that is broken so.
const STALE: i64 = 5_000;

impl World {
    /// Sends a transaction to the store.
    pub(super) fn submit(&mut self, owner: Owner, tx: Tx) {
        let slow = self.plan.store_trouble > 0 && !self.calm && self.chance.permille(20);
        let after = if slow { self.chance.within(100, 2_000) } else { self.chance.within(1, 20) };
        self.push(after, Happening::Tx(owner, tx));
    }

    /// A transaction arrives.
    pub(super) fn transact(&mut self, owner: Owner, tx: Tx) {
        let lives = self.lives(owner);
        let replica = &self.replicas[owner.0];
        if lives && replica.paused_until > self.now && self.chance.permille(500) {
            // Its own process stands between two statements.
            let after = replica.paused_until - self.now;
            self.push(after, Happening::Tx(owner, tx));
            return;
        }
        if !lives && self.chance.permille(700) {
            return;
        }
        let away = self.store.down_until > self.now || self.replicas[owner.0].cut_until > self.now;
        let trouble = !self.calm && self.chance.permille(self.plan.store_trouble);
        let unheard = trouble && self.chance.permille(500);
        if away || (trouble && !unheard) {
            let after = self.chance.within(10, 1_500);
            self.refuse(owner, tx, after);
            return;
        }
        let told = lives && !unheard;
        let after = self.chance.within(1, 10);
        match tx {
            Tx::Begin { account, id } => self.begin(owner, (account, id), told.then_some(after)),
            Tx::Keep { account, id, bounty } => {
                let fate = self.keep(owner, account, &bounty);
                let event = if fate == Fate::Unwanted { Event::Unwanted } else { Event::Kept };
                let event = if told { event } else { Event::NotKept };
                if event != Event::NotKept {
                    let spill = &mut self.replicas[owner.0].spill;
                    spill.retain(|(_, it)| it.attempt != bounty.attempt);
                }
                self.send(owner, (account, id), after, event);
            }
            Tx::Note { account, id, of } => {
                let again = self.note(owner, account, &of);
                let event = if told { Event::Noted { again } } else { Event::NotNoted };
                self.send(owner, (account, id), after, event);
            }
            Tx::Replay { account, bounty } => {
                self.keep(owner, account, &bounty);
                self.push(after, Happening::Mail(owner, Mail::Replayed(told)));
            }
            Tx::TakeOver => {
                let (now, clock) = (self.clock(owner.0), self.store_clock());
                if lives {
                    self.store.take_over(&self.plan, owner, now, clock);
                }
                self.push(after, Happening::Mail(owner, Mail::TakenOver(told)));
            }
            Tx::HandOut { account, caller } => self.hand_out(owner, account, caller),
            Tx::Reject { account, access, caller } => self.reject(owner, account, access, caller),
        }
    }

    /// Tells the replica that nothing was committed.
    fn refuse(&mut self, owner: Owner, tx: Tx, after: i64) {
        match tx {
            Tx::Begin { account, id } => self.send(owner, (account, id), after, Event::NotBegun),
            Tx::Keep { account, id, .. } => self.send(owner, (account, id), after, Event::NotKept),
            Tx::Note { account, id, .. } => self.send(owner, (account, id), after, Event::NotNoted),
            Tx::Replay { .. } => {
                self.push(after, Happening::Mail(owner, Mail::Replayed(false)));
            }
            Tx::TakeOver => self.push(after, Happening::Mail(owner, Mail::TakenOver(false))),
            Tx::HandOut { .. } | Tx::Reject { .. } => {}
        }
    }

    fn hand(&self, owner: Owner, account: usize) -> Hand {
        let (now, clock) = (self.clock(owner.0), self.store_clock());
        Hand { owner, account, now, clock, broken: self.broken }
    }

    fn begin(&mut self, owner: Owner, of: (usize, u64), reply: Option<i64>) {
        let hand = self.hand(owner, of.0);
        let Some(demand) = self.aloft(owner, of).map(|it| it.demand.clone()) else { return };
        let (admission, attempt, ledger) = self.store.begin(&self.plan, hand, &demand);
        if let Admission::Spend(spend) = &admission {
            self.judge_begin(owner, of.0, spend);
        }
        if admission == Admission::Dead {
            self.judge_dead(of.0, "nothing is left to spend");
        }
        let Some(after) = reply else {
            self.send(owner, of, 20, Event::NotBegun);
            return;
        };
        let stored = self.store.rows[of.0].generations.iter();
        let token = match &admission {
            Admission::Spend(spend) => stored
                .filter(|it| it.generation.number == spend.generation)
                .map(|it| it.token)
                .next()
                .unwrap_or_default(),
            _ => 0,
        };
        let spends = matches!(admission, Admission::Spend(_));
        let payload = Payload::Begun { attempt, token, ledger: Box::new(ledger) };
        let at = self.now;
        if let Some(it) = self.aloft(owner, of) {
            it.begun_at = at;
        }
        self.send_with(owner, of, after, (Event::Begun(admission), payload));
        if spends && self.aims() {
            self.strike(owner.0);
        }
    }

    fn keep(&mut self, owner: Owner, account: usize, bounty: &Bounty) -> Fate {
        let hand = self.hand(owner, account);
        let before = self.store.rows[account].last_number;
        let fate = self.store.keep(&self.plan, hand, bounty);
        if self.is_told() {
            let line = format!("r{} a{account} keep {:?} -> {fate:?}", owner.0, bounty.answer);
            self.tell(&line);
        }
        let spent = bounty.spend.generation;
        let there = |it: &Stored| it.generation.number == spent;
        if fate == Fate::Unwanted && self.store.rows[account].generations.iter().any(there) {
            self.break_with(format!(
                "I1: what generation {spent} of a{account} bought is thrown away"
            ));
        }
        if fate == Fate::Kept {
            let token = self.store.rows[account].generations[0].token;
            self.provider.tokens[token].slandered = false;
            self.judge.stored(bounty.answer);
            self.judge_kept(account, before, bounty);
        }
        fate
    }

    fn note(&mut self, owner: Owner, account: usize, of: &(Spend, u64, Refused, Ledger)) -> bool {
        let hand = self.hand(owner, account);
        let (spend, attempt, refused, ledger) = of;
        let row = &self.store.rows[account];
        let was = row.standing;
        let overtaken =
            row.generations.first().is_some_and(|it| it.generation.number > spend.newest);
        let noted = (spend, *attempt, refused, ledger);
        let end = self.store.note(&self.plan, hand, noted, &mut self.chance);
        if self.is_told() {
            let line = format!("r{} a{account} note {refused:?} -> {end:?}", owner.0);
            self.tell(&line);
        }
        let counts = |end: &Settlement| end.refusals.is_some() || end.standing.is_some();
        if overtaken && end.as_ref().is_some_and(counts) {
            self.break_with(format!(
                "I1: a refusal of a{account} counts that a newer generation has overtaken"
            ));
        }
        if end.as_ref().is_some_and(counts) && !self.judge.counted.insert(*attempt) {
            self.break_with(format!("I1: one refusal of a{account} counts twice"));
        }
        let is = self.store.rows[account].standing;
        if is != was && is == Standing::NeedsConsent {
            self.judge_dead(account, "the refusal was believed");
        }
        self.judge_note(account, refused);
        end.is_some_and(|end| end.again)
    }

    fn hand_out(&mut self, owner: Owner, account: usize, caller: Caller) {
        let now = self.clock(owner.0);
        let row = &self.store.rows[account];
        let stale = self.broken == Some(Break::StaleRights)
            && row.acknowledged.is_some_and(|at| at + STALE > self.now);
        let token = match &row.ghost {
            Some(ghost) if stale => Some(ghost),
            _ => row.tokens.first().filter(|_| row.standing == Standing::Active),
        };
        let Some((bearer, access)) = token.cloned() else {
            if row.standing == Standing::Active && caller.may_demand {
                let mail = Mail::Lacks { account, caller, newer_than: None };
                self.push(1, Happening::Mail(owner, mail));
            }
            return;
        };
        if bearer.rejected || bearer.expires_at <= now {
            if caller.may_demand {
                let newer_than = Some(bearer.generation);
                self.push(1, Happening::Mail(owner, Mail::Lacks { account, caller, newer_than }));
            }
            return;
        }
        let due = self.store.rows[account].due_at;
        if let Some((bearer, _)) = self.store.rows[account].tokens.first_mut() {
            bearer.used_at = Some(now);
        }
        // A cold account that is asked for becomes warm.
        let ledger = self.store.ledger(account, owner, None, self.store_clock());
        let rules = self.plan.rules(self.store.rows[account].app);
        let warm = schedule::due(&ledger, &rules, now);
        if let Some((warm, _)) = warm
            && due.is_none_or(|due| warm < due)
        {
            self.store.set_due(account, Some(warm.max(now)));
        }
        self.judge_grant(account, access, Some(caller));
        if !self.provider.is_good(access, self.now) && caller.may_demand {
            self.submit(owner, Tx::Reject { account, access, caller });
        }
    }

    /// A resource refused the token: it is due at once.
    fn reject(&mut self, owner: Owner, account: usize, access: usize, caller: Caller) {
        let now = self.clock(owner.0);
        let found = self.store.rows[account].tokens.iter_mut().find(|it| it.1 == access);
        let Some((bearer, _)) = found else { return };
        bearer.rejected = true;
        let newer_than = Some(bearer.generation);
        if self.store.rows[account].standing == Standing::Active {
            self.store.set_due(account, Some(now.before(Duration::from_millis(1))));
        }
        let caller = Caller { may_demand: false, ..caller };
        if self.replicas[owner.0].phase == Phase::Running {
            self.push(1, Happening::Mail(owner, Mail::Lacks { account, caller, newer_than }));
        }
    }
}
