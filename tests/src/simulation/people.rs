//! People: callers who want tokens, owners who consent and take back, operators who press buttons.
//!
//! Never mistaken about what they did: the judge hears of it when it is acknowledged. Next: `judge`.

use token_broker::domain::account::Standing;
use token_broker::domain::refresh::{Demand, Urgency};

use super::judge;
use super::replica::Caller;
use super::world::{Happening, Tx, World};

impl World {
    /// A caller wants a token of some account.
    pub(super) fn somebody_calls(&mut self) {
        if self.closed {
            return;
        }
        let after = self.chance.pause(self.plan.caller_gap);
        self.push(after, Happening::Caller);
        let account = self.chance.pick(self.plan.accounts.len());
        if let Some((owner, _)) = self.somebody() {
            let caller = Caller { since: self.now, may_demand: true };
            self.submit(owner, Tx::HandOut { account, caller });
        }
    }

    /// An owner or an operator does something.
    pub(super) fn somebody_acts(&mut self) {
        if self.calm {
            return;
        }
        let after = self.chance.pause(self.plan.people_gap);
        self.push(after, Happening::People);
        let account = self.chance.pick(self.plan.accounts.len());
        match self.chance.pick(20) {
            0 | 1 => self.give_back(account),
            2 => {
                self.say(&format!("the owner of a{account} takes it back at the provider"));
                self.provider.revoke(account);
            }
            3..=7 => self.consent(account),
            8 | 9 => self.secret_ends(),
            _ => self.force(account),
        }
    }

    /// A revocation through the broker, acknowledged at once.
    fn give_back(&mut self, account: usize) {
        if self.somebody().is_none() || self.store.rows[account].standing == Standing::Revoked {
            return;
        }
        self.store.revoke(account);
        self.provider.revoke(account);
        self.store.rows[account].acknowledged = Some(self.now);
        self.say(&format!("a{account} is given back"));
    }

    /// A consent; some providers end the older grants with it.
    fn consent(&mut self, account: usize) {
        let Some((_, now)) = self.somebody() else { return };
        if self.chance.permille(300) {
            self.provider.revoke(account);
        }
        let life = self.plan.apps[self.plan.accounts[account]].life;
        let answer = self.provider.consent(account, life, self.now);
        self.judge.stored(answer);
        self.store.consent(&self.plan, account, answer, now);
        self.say(&format!("the owner of a{account} consents: {answer:?}"));
    }

    /// An operator wants a refresh now.
    fn force(&mut self, account: usize) {
        let Some((owner, _)) = self.somebody() else { return };
        self.judge.forced += 1;
        if self.store.rows[account].standing == Standing::Active
            && !self.replicas[owner.0].flights.contains_key(&account)
        {
            self.say(&format!("r{} a{account} is forced", owner.0));
            let audience = Some(judge::AUDIENCE.to_owned());
            let demand = Demand { audience, newer_than: None, urgency: Urgency::Forced };
            self.take_off(owner, account, demand, Vec::new());
        }
    }

    /// Refreshes all that were not refreshed since the first round: can they be?
    pub(super) fn probe_all(&mut self, round: u32) {
        if round == 0 {
            self.judge_stuck();
            self.judge.probed_from = self.now;
        }
        self.say(&format!("round {round} of refreshing all"));
        let from = self.judge.probed_from;
        for account in 0..self.plan.accounts.len() {
            let newest = self.store.rows[account].generations.first();
            if newest.is_some_and(|it| it.generation.received_at.millis() < from) {
                self.force(account);
            }
        }
    }
}
