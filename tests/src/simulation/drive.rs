//! The driver of the flights, over the models: does what `Flight::step` says and comes back with what happened.
//!
//! Never decides about tokens. Invariant: the same order of steps as `service/refresh`, broken only on purpose. Next: `desk`,
//! the transactions; `call`, the provider.

use std::time::Duration;

use token_broker::clock::Time;
use token_broker::domain::refresh::admit::Spend;
use token_broker::domain::refresh::flight::{Effect, Event, Flight, Outcome};
use token_broker::domain::refresh::{Demand, Urgency};
use token_broker::domain::refusal::{Reached, RefusalClass, Refused};

use super::call::Call;
use super::replica::{Aloft, Caller, Mail, Payload, Phase};
use super::store::Owner;
use super::world::{Happening, Tx, World};
use super::{Break, judge};

/// How long somebody waits for others, at most.
const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    /// The schedule of one replica looks once a second.
    pub(super) fn tick(&mut self, owner: Owner) {
        if !self.lives(owner) || self.closed {
            return;
        }
        self.push(1000, Happening::Tick(owner));
        let cut = self.replicas[owner.0].cut_until > self.now;
        if self.replicas[owner.0].phase != Phase::Running || cut || self.store.down_until > self.now
        {
            return;
        }
        for account in self.store.due(self.clock(owner.0)) {
            if !self.replicas[owner.0].flights.contains_key(&account) {
                let demand =
                    Demand { audience: None, newer_than: None, urgency: Urgency::Scheduled };
                self.take_off(owner, account, demand, Vec::new());
            }
        }
    }

    /// Begins a refresh.
    pub(super) fn take_off(
        &mut self,
        owner: Owner,
        account: usize,
        demand: Demand,
        passengers: Vec<Caller>,
    ) {
        let id = self.next_flight;
        self.next_flight += 1;
        let flight = Flight::new(demand.urgency, self.clock(owner.0).after(PATIENCE));
        let aloft = Aloft {
            id,
            flight,
            demand,
            passengers,
            room: false,
            begun_at: self.now,
            spend: None,
            token: 0,
            attempt: 0,
            ledger: None,
            bounty: None,
            refused: None,
            spilled: false,
        };
        self.replicas[owner.0].flights.insert(account, aloft);
        self.step(owner, (account, id), Event::Start, Payload::Nothing);
    }

    /// Gives a flight an event and does what it says.
    pub(super) fn step(&mut self, owner: Owner, of: (usize, u64), event: Event, payload: Payload) {
        let (account, id) = of;
        let now = self.clock(owner.0);
        let told = self.is_told().then(|| format!("{event:?}"));
        let Some(aloft) = self.replicas[owner.0].flights.get_mut(&account) else { return };
        if aloft.id != id {
            return;
        }
        match payload {
            Payload::Nothing => {}
            Payload::Begun { attempt, token, ledger } => {
                (aloft.attempt, aloft.token, aloft.ledger) = (attempt, token, Some(ledger));
            }
            Payload::Bounty(bounty) => aloft.bounty = Some(*bounty),
            Payload::Refused(refused) => aloft.refused = Some(*refused),
        }
        let effects = aloft.flight.step(event, now, &mut self.chance);
        if let Some(told) = told.filter(|told| told != "Woke" && told != "Entered") {
            self.tell(&format!("r{} a{account} f{id} {told} -> {effects:?}", owner.0));
        }
        for effect in effects {
            self.act(owner, of, effect);
        }
    }

    fn act(&mut self, owner: Owner, of: (usize, u64), effect: Effect) {
        match effect {
            Effect::Enter => {
                let event = self.enter(owner, of);
                self.send(owner, of, 0, event);
            }
            Effect::Begin => self.submit(owner, Tx::Begin { account: of.0, id: of.1 }),
            Effect::Ask(spend) => self.ask(owner, of, spend),
            Effect::Keep => {
                if let Some(bounty) = self.aloft(owner, of).and_then(|it| it.bounty.clone()) {
                    self.submit(owner, Tx::Keep { account: of.0, id: of.1, bounty });
                }
            }
            Effect::Spill => {
                let bounty = self.aloft(owner, of).and_then(|it| {
                    it.spilled = true;
                    it.bounty.clone()
                });
                if let Some(bounty) = bounty {
                    self.judge.spilled.extend(
                        bounty.answer.refresh.map(|it| (of.0, bounty.spend.generation, it)),
                    );
                    self.replicas[owner.0].spill.push((of.0, bounty));
                }
            }
            Effect::Note => self.submit_note(owner, of),
            Effect::Sleep(span) => {
                let after = i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
                self.send(owner, of, after, Event::Woke);
            }
            Effect::Land(outcome) => self.land(owner, of, &outcome),
        }
    }

    pub(super) fn aloft(&mut self, owner: Owner, of: (usize, u64)) -> Option<&mut Aloft> {
        self.replicas[owner.0].flights.get_mut(&of.0).filter(|it| it.id == of.1)
    }

    fn submit_note(&mut self, owner: Owner, of: (usize, u64)) {
        let Some(it) = self.aloft(owner, of) else { return };
        let (Some(spend), Some(ledger)) = (it.spend.clone(), it.ledger.clone()) else { return };
        // A stop before anything was sent a second time.
        let never = || Refused::ours(RefusalClass::Transient, "x", "x", Reached::Never);
        let refused = it.refused.clone().unwrap_or_else(never);
        let note = Box::new((spend, it.attempt, refused, *ledger));
        self.submit(owner, Tx::Note { account: of.0, id: of.1, of: note });
    }

    /// Breaker first, then the bucket.
    fn enter(&mut self, owner: Owner, of: (usize, u64)) -> Event {
        let now = self.clock(owner.0);
        let app = self.plan.accounts[of.0];
        let endpoint = self.plan.apps[app].endpoint;
        let Some(urgency) = self.aloft(owner, of).map(|it| it.demand.urgency) else {
            return Event::Stop;
        };
        let replica = &mut self.replicas[owner.0];
        if let Err(left) = replica.breakers[endpoint].pass(now) {
            return Event::Shut(left);
        }
        if let Err(wait) = replica.buckets[app].take(urgency, now) {
            replica.breakers[endpoint].give_back();
            return Event::Full(wait);
        }
        if let Some(it) = self.aloft(owner, of) {
            it.room = true;
        }
        self.judge_room(owner.0, app);
        Event::Entered
    }

    fn ask(&mut self, owner: Owner, of: (usize, u64), spend: Spend) {
        let (now, at) = (self.clock(owner.0), self.now);
        let Some(it) = self.aloft(owner, of) else { return };
        it.spend = Some(spend.clone());
        let had_room = std::mem::take(&mut it.room);
        let unheard = it.refused.take().is_some_and(|refused| refused.reached == Reached::Never);
        let call = Call {
            account: of.0,
            id: of.1,
            spend,
            token: it.token,
            attempt: it.attempt,
            sent_at: at,
            clock: now,
            begun_at: it.begun_at,
        };
        if !had_room && !unheard {
            self.break_with(format!("rate: r{} a{} asks without room", owner.0, of.0));
        }
        self.judge_call(owner, &call);
        let after = self.chance.within(5, 150);
        self.push(after, Happening::Call(owner, Box::new(call)));
    }

    fn land(&mut self, owner: Owner, of: (usize, u64), outcome: &Outcome) {
        let (account, id) = of;
        let Some(it) = self.replicas[owner.0].flights.remove(&account).filter(|it| it.id == id)
        else {
            return;
        };
        if it.room {
            let app = self.plan.accounts[account];
            let endpoint = self.plan.apps[app].endpoint;
            self.replicas[owner.0].buckets[app].give_back();
            self.room_back(owner.0, app);
            self.replicas[owner.0].breakers[endpoint].give_back();
        }
        let renewed = *outcome == Outcome::Renewed;
        let scheduled = it.demand.urgency == Urgency::Scheduled;
        let waits = !it.passengers.is_empty();
        if renewed {
            for caller in it.passengers {
                let caller = Caller { may_demand: false, ..caller };
                self.submit(owner, Tx::HandOut { account, caller });
            }
        } else if waits
            && scheduled
            && matches!(outcome, Outcome::Rest | Outcome::Busy)
            && self.replicas[owner.0].phase == Phase::Running
        {
            // The schedule would not wait; whoever came aboard does.
            let demand = Demand { urgency: Urgency::Wanted, ..it.demand };
            self.take_off(owner, account, demand, it.passengers);
        }
        self.stop_when_empty(owner);
    }

    pub(super) fn stop_when_empty(&mut self, owner: Owner) {
        let it = &self.replicas[owner.0];
        if it.phase == Phase::Stopping && it.flights.is_empty() {
            self.go_down(owner.0);
        }
    }

    /// Sends an event to a flight.
    pub(super) fn send(&mut self, owner: Owner, of: (usize, u64), after: i64, event: Event) {
        self.send_with(owner, of, after, (event, Payload::Nothing));
    }

    pub(super) fn send_with(
        &mut self,
        owner: Owner,
        (account, id): (usize, u64),
        after: i64,
        (event, payload): (Event, Payload),
    ) {
        self.push(after, Happening::Mail(owner, Mail::Flight { account, id, event, payload }));
    }

    /// Something reaches a replica.
    pub(super) fn receive(&mut self, owner: Owner, mail: Mail) {
        if !self.lives(owner) {
            return;
        }
        match mail {
            Mail::Flight { account, id, event, payload } => {
                self.heard(owner, (account, id), &event, &payload);
                self.step(owner, (account, id), event, payload);
            }
            Mail::Replayed(done) => {
                if done {
                    self.replicas[owner.0].spill.remove(0);
                }
                self.go_on_starting(owner, done);
            }
            Mail::TakenOver(true) => {
                self.replicas[owner.0].phase = Phase::Running;
                self.push(0, Happening::Tick(owner));
            }
            Mail::StartOn => self.go_on_starting(owner, true),
            Mail::TakenOver(false) => self.go_on_starting(owner, false),
            Mail::Lacks { account, caller, newer_than } => {
                self.lacks(owner, account, caller, newer_than);
            }
        }
    }

    /// The end of a call, as the replica notices it.
    fn heard(&mut self, owner: Owner, of: (usize, u64), event: &Event, payload: &Payload) {
        let endpoint = self.plan.apps[self.plan.accounts[of.0]].endpoint;
        let now = self.clock(owner.0);
        let breaker = &mut self.replicas[owner.0].breakers[endpoint];
        match event {
            Event::Answered => breaker.answered(),
            Event::Refused(RefusalClass::Transient, _) => {
                breaker.failed(now, &mut self.chance);
            }
            Event::Refused(..) => breaker.answered(),
            _ => return,
        }
        self.judge.landed(owner, of.0);
        if let (Payload::Bounty(bounty), Some(Break::StoreAfterParse)) = (payload, self.broken) {
            let waits = self.aloft(owner, of).is_some_and(|it| !it.passengers.is_empty());
            if waits {
                self.judge_grant(of.0, bounty.answer.access, None);
            }
        }
    }

    fn lacks(&mut self, owner: Owner, account: usize, caller: Caller, newer_than: Option<i64>) {
        if self.replicas[owner.0].phase != Phase::Running {
            return;
        }
        if let Some(it) = self.replicas[owner.0].flights.get_mut(&account) {
            it.passengers.push(caller);
            return;
        }
        let audience = Some(judge::AUDIENCE.to_owned());
        let demand = Demand { audience, newer_than, urgency: Urgency::Wanted };
        self.take_off(owner, account, demand, vec![caller]);
    }

    /// The expiry of a token that comes with an answer: counted from when it was asked for.
    pub(super) fn expiry(&self, call: &Call) -> Time {
        let life = self.plan.apps[self.plan.accounts[call.account]].life;
        call.clock.after(Duration::from_secs(life.unsigned_abs()))
    }
}
