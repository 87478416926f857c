//! What this process knows of the rights epoch: how far it has looked, and when each thing changed last.
//!
//! Never asks the database; is told (`lane.rs`). Invariants: what is known only grows, and is told before it is used; about
//! what was forgotten the answer is "changed". Next: `memory` asks before it answers, the lane judges by it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::epoch::{Change, Changed};

/// Steps that are remembered.
const KEPT: usize = 8192;

/// Something that was read, and the epoch known before it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What.
    pub what: Changed,
    /// It is as it was at this epoch, or newer.
    pub since: i64,
}

/// What is known of the epoch.
#[derive(Debug)]
pub struct Changes {
    known: AtomicI64,
    book: RwLock<Book>,
}

#[derive(Debug)]
struct Book {
    /// Whatever was seen before this is forgotten.
    floor: i64,
    last: HashMap<Changed, i64>,
    steps: VecDeque<Change>,
}

impl Changes {
    /// Knows that the epoch is `epoch`, and nothing of how it came there.
    pub(super) fn beginning_at(epoch: i64) -> Self {
        let book = Book { floor: epoch, last: HashMap::new(), steps: VecDeque::new() };
        Self { known: AtomicI64::new(epoch), book: RwLock::new(book) }
    }

    /// The epoch up to which all is known. Whoever reads a row takes this first.
    pub fn known(&self) -> i64 {
        self.known.load(Ordering::Acquire)
    }

    /// Whether, as far as is known, it is still as it was seen.
    pub fn holds(&self, sight: Sight) -> bool {
        if sight.since >= self.known() {
            return true;
        }
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        sight.since >= book.floor
            && book.last.get(&sight.what).is_none_or(|last| *last <= sight.since)
    }

    /// Takes in the steps after what is known, oldest first, up to `epoch`. If some are missing, everything counts as changed.
    pub(super) fn learn(&self, epoch: i64, steps: &[Change]) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load(Ordering::Acquire);
        let reached = steps.last().map_or(epoch, |last| last.epoch.max(epoch));
        if reached <= known {
            return;
        }
        let mut expected = known;
        // Somebody else may have told the first of them meanwhile.
        for step in steps.iter().skip_while(|step| step.epoch <= known) {
            expected += 1;
            if step.epoch != expected {
                break;
            }
            book.take(*step);
        }
        if expected != reached {
            book.floor = reached;
            book.last.clear();
            book.steps.clear();
        }
        self.known.store(reached, Ordering::Release);
    }
}

impl Book {
    fn take(&mut self, step: Change) {
        if self.steps.len() == KEPT
            && let Some(oldest) = self.steps.pop_front()
        {
            self.floor = self.floor.max(oldest.epoch);
            if self.last.get(&oldest.what) == Some(&oldest.epoch) {
                self.last.remove(&oldest.what);
            }
        }
        self.steps.push_back(step);
        self.last.insert(step.what, step.epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AccountId, CallerId};

    const ANN: Changed = Changed::Account(AccountId::from_bytes([1; 16]));
    const BOB: Changed = Changed::Account(AccountId::from_bytes([2; 16]));
    const CRM: Changed = Changed::Caller(CallerId::from_bytes([1; 16]));

    fn step(epoch: i64, what: Changed) -> Change {
        Change { epoch, what }
    }

    #[test]
    fn only_what_changed_since_it_was_seen_does_not_hold() {
        let changes = Changes::beginning_at(10);
        changes.learn(12, &[step(11, ANN), step(12, CRM)]);
        assert_eq!(changes.known(), 12);
        let holds = |what, since| changes.holds(Sight { what, since });
        assert!(!holds(ANN, 10) && holds(ANN, 11) && holds(ANN, 12));
        assert!(!holds(CRM, 11) && holds(BOB, 10));
        assert!(!holds(BOB, 9), "what was seen before the beginning may have changed");
    }

    #[test]
    fn a_step_that_is_missing_makes_everything_count_as_changed() {
        for steps in [vec![step(12, ANN)], vec![step(11, ANN)], vec![]] {
            let changes = Changes::beginning_at(10);
            changes.learn(13, &steps);
            assert_eq!(changes.known(), 13);
            assert!(!changes.holds(Sight { what: BOB, since: 12 }), "{steps:?}");
            assert!(changes.holds(Sight { what: BOB, since: 13 }), "{steps:?}");
        }
    }

    #[test]
    fn steps_read_after_the_epoch_was_may_be_newer_than_it() {
        let changes = Changes::beginning_at(10);
        changes.learn(11, &[step(11, ANN), step(12, BOB)]);
        assert_eq!(changes.known(), 12);
        assert!(!changes.holds(Sight { what: BOB, since: 11 }));
    }

    #[test]
    fn two_who_tell_the_same_steps_do_no_harm() {
        let changes = Changes::beginning_at(10);
        changes.learn(13, &[step(11, ANN), step(12, BOB), step(13, CRM)]);
        changes.learn(12, &[step(11, ANN), step(12, BOB)]);
        changes.learn(14, &[step(12, BOB), step(13, CRM), step(14, ANN)]);
        assert_eq!(changes.known(), 14);
        let holds = |what, since| changes.holds(Sight { what, since });
        assert!(holds(BOB, 12) && !holds(BOB, 11) && !holds(ANN, 13) && holds(CRM, 13));
    }

    #[test]
    fn the_oldest_steps_are_forgotten_on_the_safe_side() {
        let changes = Changes::beginning_at(0);
        for epoch in 1..=i64::try_from(KEPT).unwrap() + 1 {
            changes.learn(epoch, &[step(epoch, if epoch == 1 { ANN } else { BOB })]);
        }
        assert!(!changes.holds(Sight { what: ANN, since: 0 }));
        assert!(!changes.holds(Sight { what: CRM, since: 0 }), "nobody knows any more");
        assert!(changes.holds(Sight { what: CRM, since: 1 }));
    }
}
