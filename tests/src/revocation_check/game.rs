//! What all who take part share: the clock, the history, the brokers, and who has which right as far as that was told.
//!
//! Invariant: a time is taken before something is sent and after it was heard, never in between; locks are held for no wait.
//! Next: [`super::load`] asks, [`super::desk`] changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Turn, RwLock, Semaphore};

use super::clients::Broker;
use super::history::{Call, End, History, Kind, Micros, Subject, Write};
use super::plan::{BROKERS, Plan};
use super::stage::Stage;

/// How long changes that are under way at the end may still take.
const LAST_TRIES: Duration = Duration::from_secs(45);
/// Calls under way at once that were asked because a right had just been taken.
const PROBES: usize = 96;

/// See above.
#[derive(Debug)]
pub(super) struct Game {
    pub(super) brokers: Vec<Broker>,
    pub(super) turns: Turns,
    pub(super) probes: Arc<Semaphore>,
    born: Instant,
    most: u64,
    done: AtomicU64,
    names: AtomicU64,
    over_since: AtomicU64,
    harmed: [AtomicBool; BROKERS],
    history: Mutex<History>,
    stage: Mutex<Stage>,
}

/// Who changes what: one operator at a time for each thing.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) accounts: Vec<Arc<Turn<()>>>,
    pub(super) services: Vec<Arc<Turn<()>>>,
    pub(super) adapters: Vec<Arc<Turn<()>>>,
    /// An app that is switched off lets nobody consent.
    pub(super) apps: Vec<Arc<RwLock<()>>>,
}

/// When something was asked for and answered, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) begun: Micros,
    pub(super) ended: Micros,
    pub(super) broker: u8,
}

impl When {
    /// Before anything happened.
    pub(super) const fn start() -> Self {
        Self { begun: 0, ended: 0, broker: 0 }
    }
}

impl Game {
    pub(super) fn new(plan: &Plan, brokers: Vec<Broker>) -> Self {
        let turns = |count: usize| (0..count).map(|_| Arc::default()).collect::<Vec<_>>();
        let room = usize::try_from(plan.operations).unwrap_or(0);
        Self {
            brokers,
            turns: Turns {
                accounts: turns(plan.accounts),
                services: turns(plan.services),
                adapters: turns(plan.adapters),
                apps: (0..plan.apps).map(|_| Arc::default()).collect(),
            },
            probes: Arc::new(Semaphore::new(PROBES)),
            born: Instant::now(),
            most: plan.operations,
            done: AtomicU64::new(0),
            names: AtomicU64::new(0),
            over_since: AtomicU64::new(0),
            harmed: Default::default(),
            history: Mutex::new(History::with_room(room + room / 16)),
            stage: Mutex::new(Stage::default()),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Micros {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Operations so far.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// From now on operations count: what was done to set the stage did not.
    pub(super) fn begin(&self) {
        self.done.store(0, Ordering::Relaxed);
    }

    /// Whether as much was done as was wanted.
    pub(super) fn is_enough(&self) -> bool {
        self.done() >= self.most
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_over(&self) -> bool {
        self.over_since.load(Ordering::Relaxed) > 0
    }

    /// Nothing more is to be begun.
    pub(super) fn end(&self) {
        self.over_since.store(self.now().max(1), Ordering::Relaxed);
    }

    /// Whether even what is under way is to be given up.
    pub(super) fn is_hopeless(&self) -> bool {
        let since = self.over_since.load(Ordering::Relaxed);
        since > 0 && self.now().saturating_sub(since) > LAST_TRIES.as_micros() as u64
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether something is done to a broker.
    pub(super) fn is_harmed(&self, broker: usize) -> bool {
        self.harmed[broker].load(Ordering::Relaxed)
    }

    pub(super) fn set_harmed(&self, broker: usize, harmed: bool) {
        self.harmed[broker].store(harmed, Ordering::Relaxed);
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history, which ends here.
    pub(super) fn take_history(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    /// Calls that have ended.
    pub(super) fn called(&self, calls: impl IntoIterator<Item = Call>) {
        let mut history = self.history();
        for call in calls {
            history.calls.push(call);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A change that has ended, of these things.
    pub(super) fn changed(
        &self,
        subjects: &[Subject],
        (takes, what): (bool, &'static str),
        when: When,
        is_certain: bool,
    ) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let end = if is_certain { End::Acknowledged(when.ended) } else { End::Maybe };
        let write = Write { takes, what, broker: when.broker, begun: when.begun, end };
        let mut history = self.history();
        subjects.iter().for_each(|subject| history.write(*subject, write));
    }

    /// A new thing, that has been given.
    pub(super) fn made(&self, kind: Kind, name: &str, when: When) -> Subject {
        let mut history = self.history();
        let subject = history.thing(kind, name.to_owned());
        let end = End::Acknowledged(when.ended);
        let (broker, begun) = (when.broker, when.begun);
        history.write(subject, Write { takes: false, what: "made", broker, begun, end });
        subject
    }
}
