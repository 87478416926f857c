//! One call to the provider, and all that can happen to it on the way there and back.
//!
//! Never tells the replica the truth if the answer is lost. Invariant: a call is processed when it arrives or never; what comes
//! later than the deadline does not come. Next: `faults`.

use std::time::Duration;

use token_broker::clock::Time;
use token_broker::domain::refresh::admit::Spend;
use token_broker::domain::refresh::flight::Event;
use token_broker::domain::refusal::{Reached, RefusalClass, Refused};

use super::plan::DEADLINE;
use super::replica::Payload;
use super::store::Owner;
use super::transact::Bounty;
use super::world::World;

/// A request for new tokens.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) account: usize,
    pub(super) id: u64,
    pub(super) spend: Spend,
    pub(super) token: usize,
    pub(super) attempt: u64,
    /// In true time.
    pub(super) sent_at: i64,
    /// By the clock of the replica.
    pub(super) clock: Time,
    /// When its intent was written, in true time.
    pub(super) begun_at: i64,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Never { after: i64 },
    Unprocessed { after: i64, reached: Reached },
    Processed { after: i64, reached: Reached },
    Slow { after: i64 },
    Busy,
    Throttled { seconds: i64 },
    Slandered,
}

impl World {
    /// A call arrives at the provider, or does not.
    pub(super) fn at_provider(&mut self, owner: Owner, call: Call) {
        let app = self.plan.accounts[call.account];
        let trouble = self.outage(app).or_else(|| self.trouble(&call));
        if trouble.is_some() {
            self.judge.disturbed(self.now, self.now + 1, super::judge::Kind::Call);
        }
        if self.is_told() {
            let line =
                format!("   a{} token {} at the provider: {trouble:?}", call.account, call.token);
            self.tell(&line);
        }
        let back = self.chance.within(5, 200);
        match trouble {
            Some(Trouble::Never { after }) => {
                let never = ours(RefusalClass::Transient, Reached::Never);
                self.answer_with(owner, &call, after, never);
            }
            Some(Trouble::Unprocessed { after, reached }) => {
                self.answer_with(owner, &call, after, ours(RefusalClass::Transient, reached));
            }
            Some(Trouble::Processed { after, reached }) => {
                self.process(owner, &call).ok();
                let class = if reached == Reached::Garbled {
                    RefusalClass::Ambiguous
                } else {
                    RefusalClass::Transient
                };
                self.answer_with(owner, &call, after, ours(class, reached));
            }
            Some(Trouble::Busy) => {
                self.out.calls += 1;
                let busy = ours(RefusalClass::Transient, Reached::Answered);
                self.answer_with(owner, &call, back, busy);
            }
            Some(Trouble::Throttled { seconds }) => {
                self.out.calls += 1;
                let until = self.now + seconds * 1000;
                let state = &mut self.provider.apps[app];
                state.silent_until = state.silent_until.max(until);
                self.judge.disturbed(self.now, until, super::judge::Kind::Provider);
                self.answer_with(owner, &call, back, throttled(seconds));
            }
            Some(Trouble::Slandered) => {
                self.provider.tokens[call.token].slandered = true;
                let wrong = ours(RefusalClass::NeedsConsent, Reached::Answered);
                self.answer_with(owner, &call, back, wrong);
            }
            Some(Trouble::Slow { after }) => self.answer(owner, &call, after),
            None => self.answer(owner, &call, back),
        }
    }

    fn outage(&mut self, app: usize) -> Option<Trouble> {
        let (until, how) = self.provider.outages[self.plan.apps[app].endpoint];
        if until <= self.now {
            return None;
        }
        Some(match how {
            0 => Trouble::Never { after: if self.chance.permille(500) { 20 } else { 5_000 } },
            1 => Trouble::Busy,
            _ => Trouble::Unprocessed { after: DEADLINE, reached: Reached::Maybe },
        })
    }

    fn trouble(&mut self, call: &Call) -> Option<Trouble> {
        if self.calm || !self.chance.permille(self.plan.call_trouble) {
            return None;
        }
        let app = self.plan.accounts[call.account];
        let soon = self.chance.within(10, 500);
        Some(match self.chance.pick(12) {
            0 => Trouble::Never { after: if self.chance.permille(500) { soon } else { 5_000 } },
            1 => Trouble::Unprocessed { after: soon, reached: Reached::Maybe },
            2 => Trouble::Unprocessed { after: DEADLINE, reached: Reached::Maybe },
            3 => Trouble::Unprocessed { after: soon, reached: Reached::Garbled },
            4 | 5 => Trouble::Busy,
            6 => {
                let seconds =
                    if self.chance.permille(200) { 600 } else { self.chance.within(5, 90) };
                Trouble::Throttled { seconds }
            }
            7 => {
                let takes = self.provider.takes(call.token, &self.plan.apps[app], self.now);
                if !takes || self.provider.tokens[call.token].slandered {
                    return None;
                }
                Trouble::Slandered
            }
            8 => Trouble::Processed { after: soon, reached: Reached::Maybe },
            9 => Trouble::Processed { after: DEADLINE, reached: Reached::Maybe },
            10 => Trouble::Processed { after: soon, reached: Reached::Garbled },
            _ => Trouble::Slow { after: self.chance.within(3_000, 9_700) },
        })
    }

    /// The provider does its work, and the answer comes back.
    fn answer(&mut self, owner: Owner, call: &Call, after: i64) {
        match self.process(owner, call) {
            Ok(bounty) => {
                self.answer_in_time(owner, call, after, Ok(bounty));
                if self.aims() {
                    self.strike(owner.0);
                }
            }
            Err(refused) => self.answer_with(owner, call, after, refused),
        }
    }

    fn process(&mut self, owner: Owner, call: &Call) -> Result<Bounty, Refused> {
        self.out.calls += 1;
        let app = self.plan.accounts[call.account];
        let plan = self.plan.apps[app].clone();
        let state = &mut self.provider.apps[app];
        if state.silent_until > self.now {
            let seconds = (state.silent_until - self.now) / 1000 + 1;
            self.judge_silence(call);
            return Err(throttled(seconds));
        }
        if !state.secret_ok {
            state.refused += 1;
            self.judge_refused_app(app);
            return Err(ours(RefusalClass::AppBroken, Reached::Answered));
        }
        let silent = plan.silent > 0 && self.chance.permille(plan.silent);
        self.judge_exchange(owner, call);
        let answer = self.provider.exchange(call.token, &plan, silent, self.now);
        let answer = answer.ok_or_else(|| ours(RefusalClass::NeedsConsent, Reached::Answered))?;
        let expires_at = self.expiry(call);
        Ok(Bounty { spend: call.spend.clone(), attempt: call.attempt, answer, expires_at })
    }

    fn answer_with(&mut self, owner: Owner, call: &Call, after: i64, refused: Refused) {
        self.answer_in_time(owner, call, after, Err(refused));
    }

    fn answer_in_time(
        &mut self,
        owner: Owner,
        call: &Call,
        after: i64,
        answer: Result<Bounty, Refused>,
    ) {
        let left = call.sent_at + DEADLINE - self.now;
        let answer = if after > left && answer.is_ok() {
            Err(ours(RefusalClass::Transient, Reached::Maybe))
        } else {
            answer
        };
        let message = match answer {
            Ok(bounty) => (Event::Answered, Payload::Bounty(Box::new(bounty))),
            Err(refused) => {
                let event = Event::Refused(refused.class, refused.reached);
                (event, Payload::Refused(Box::new(refused)))
            }
        };
        self.send_with(owner, (call.account, call.id), after.min(left), message);
    }
}

fn ours(class: RefusalClass, reached: Reached) -> Refused {
    Refused::ours(class, "model", "", reached)
}

fn throttled(seconds: i64) -> Refused {
    let retry_after = Some(Duration::from_secs(seconds.unsigned_abs()));
    Refused { retry_after, ..ours(RefusalClass::Throttled, Reached::Answered) }
}
