//! The loop: takes the next event, lets it happen, and stops at the first broken invariant.
//!
//! Never waits. Invariant: events happen in the order of their time, and of their making at the same time. Next: `drive`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use token_broker::clock::Time;

use super::call::Call;
use super::chance::Chance;
use super::faults::Mend;
use super::judge::Judge;
use super::plan::Plan;
use super::provider::{AppState, Provider};
use super::replica::{Caller, Mail, Phase, Replica};
use super::store::{Owner, Store};
use super::transact::Bounty;
use super::{Break, Outcome};
use token_broker::domain::refresh::Ledger;
use token_broker::domain::refresh::admit::Spend;
use token_broker::domain::refusal::Refused;

/// When a simulation begins: far enough from the beginning of time for a clock that goes wrong by ten years.
const BEGINNING: i64 = 1_800_000_000_000;
/// How often each account is refreshed at the end, to see whether it can be, and how long between.
const PROBES: u32 = 6;
const PROBE_GAP: i64 = 75_000;

/// A transaction on its way to the store.
#[derive(Debug)]
pub(super) enum Tx {
    Begin { account: usize, id: u64 },
    Keep { account: usize, id: u64, bounty: Bounty },
    Note { account: usize, id: u64, of: Box<(Spend, u64, Refused, Ledger)> },
    Replay { account: usize, bounty: Bounty },
    TakeOver,
    HandOut { account: usize, caller: Caller },
    Reject { account: usize, access: usize, caller: Caller },
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Happening {
    Tick(Owner),
    Mail(Owner, Mail),
    Tx(Owner, Tx),
    Call(Owner, Box<Call>),
    Caller,
    People,
    Fault,
    Mend(Mend),
    Calm,
    Probe(u32),
    Close,
    End,
}

struct Entry(i64, u64, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Everything.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) broken: Option<Break>,
    /// The true time.
    pub(super) now: i64,
    pub(super) chance: Chance,
    pub(super) store: Store,
    pub(super) provider: Provider,
    pub(super) replicas: Vec<Replica>,
    pub(super) judge: Judge,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
    /// Nothing new begins any more.
    pub(super) closed: bool,
    pub(super) next_flight: u64,
    pub(super) out: Outcome,
    queue: BinaryHeap<Reverse<Entry>>,
    made: u64,
    told: Option<(usize, VecDeque<String>)>,
}

/// Plays one seed, and remembers so many of the last events.
pub fn run(seed: u64, broken: Option<Break>, traced: usize) -> Outcome {
    let mut world = World::of(seed, broken, traced);
    world.open();
    while let Some(Reverse(Entry(at, _, what))) = world.queue.pop() {
        world.now = world.now.max(at);
        world.out.events += 1;
        if matches!(what, Happening::End) {
            world.last_judgement();
            break;
        }
        world.happen(what);
        if world.out.broken.is_some() {
            break;
        }
    }
    world.out.virtual_ms = world.now - BEGINNING;
    world.out.trace = world.told.map(|(_, told)| Vec::from(told)).unwrap_or_default();
    world.out
}

impl World {
    fn of(seed: u64, broken: Option<Break>, traced: usize) -> Self {
        let mut chance = Chance::of(seed);
        let plan = Plan::draw(&mut chance);
        let spreads: Vec<u16> = plan
            .accounts
            .iter()
            .map(|_| token_broker::domain::refresh::Dice::roll(&mut chance))
            .collect();
        let now = Time::from_millis(BEGINNING);
        let app = AppState { secret_ok: true, ..AppState::default() };
        let provider = Provider {
            apps: vec![app; plan.apps.len()],
            outages: vec![(0, 0); plan.apps.len()],
            ..Provider::default()
        };
        Self {
            broken,
            now: BEGINNING,
            store: Store::of(&plan, &spreads),
            provider,
            replicas: (0..plan.replicas).map(|_| Replica::of(&plan, now)).collect(),
            judge: Judge::of(&plan),
            calm: false,
            closed: false,
            next_flight: 1,
            out: Outcome { seed, ..Outcome::default() },
            queue: BinaryHeap::new(),
            made: 0,
            told: (traced > 0).then(|| (traced, VecDeque::new())),
            plan,
            chance,
        }
    }

    /// All consents are given, all replicas are up, and what comes by itself is on its way.
    fn open(&mut self) {
        if self.is_told() {
            let plan = format!("{:?}", self.plan);
            self.tell(&plan);
        }
        for account in 0..self.plan.accounts.len() {
            let life = self.plan.apps[self.plan.accounts[account]].life;
            let answer = self.provider.consent(account, life, self.now);
            self.judge.stored(answer);
            self.store.consent(&self.plan, account, answer, Time::from_millis(self.now));
        }
        for replica in 0..self.replicas.len() {
            let after = self.chance.within(0, 999);
            self.push(after, Happening::Tick((replica, 1)));
        }
        self.push(1, Happening::Caller);
        let (people, fault) = (self.plan.people_gap, self.plan.fault_gap);
        self.push(people, Happening::People);
        self.push(fault / 2, Happening::Fault);
        let (rough, settle) = (self.plan.rough, self.plan.settle());
        self.push(rough, Happening::Calm);
        for round in 0..PROBES {
            let after = rough + settle + PROBE_GAP * i64::from(round);
            self.push(after, Happening::Probe(round));
        }
        let end = rough + settle + PROBE_GAP * i64::from(PROBES);
        self.push(end, Happening::Close);
        self.push(end + 2 * PROBE_GAP, Happening::End);
    }

    fn happen(&mut self, what: Happening) {
        if let Some(until) = self.waits_for(&what) {
            let after = until - self.now;
            self.push(after, what);
            return;
        }
        match what {
            Happening::Tick(owner) => self.tick(owner),
            Happening::Mail(owner, mail) => self.receive(owner, mail),
            Happening::Tx(owner, tx) => self.transact(owner, tx),
            Happening::Call(owner, call) => self.at_provider(owner, *call),
            Happening::Caller => self.somebody_calls(),
            Happening::People => self.somebody_acts(),
            Happening::Fault => self.something_fails(),
            Happening::Mend(mend) => self.mend(mend),
            Happening::Calm => self.become_calm(),
            Happening::Probe(round) => self.probe_all(round),
            Happening::Close => self.closed = true,
            Happening::End => {}
        }
    }

    /// Until when a replica that stands still keeps this waiting.
    fn waits_for(&self, what: &Happening) -> Option<i64> {
        let (Happening::Tick(owner) | Happening::Mail(owner, _)) = what else { return None };
        let replica = &self.replicas[owner.0];
        (replica.life == owner.1 && replica.paused_until > self.now).then_some(replica.paused_until)
    }

    /// Lets something happen after so many milliseconds.
    pub(super) fn push(&mut self, after: i64, what: Happening) {
        self.made += 1;
        self.queue.push(Reverse(Entry(self.now + after.max(0), self.made, what)));
    }

    /// The clock of a replica.
    pub(super) fn clock(&self, replica: usize) -> Time {
        Time::from_millis(self.now + self.replicas[replica].skew)
    }

    /// The clock of the database.
    pub(super) fn store_clock(&self) -> Time {
        Time::from_millis(self.now + self.store.skew)
    }

    /// Whether this start of this replica is still the one that runs.
    pub(super) fn lives(&self, (replica, life): Owner) -> bool {
        let it = &self.replicas[replica];
        it.life == life && it.phase != Phase::Down
    }

    pub(super) const fn is_told(&self) -> bool {
        self.told.is_some()
    }

    pub(super) fn tell(&mut self, line: &str) {
        let at = self.now - BEGINNING;
        if let Some((most, told)) = &mut self.told {
            if told.len() == *most {
                told.remove(1);
            }
            told.push_back(format!("{:>6}.{:03}  {line}", at / 1000, at % 1000));
        }
    }

    /// An invariant is broken.
    pub(super) fn break_with(&mut self, what: String) {
        self.out.broken.get_or_insert(what);
    }
}
