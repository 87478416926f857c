//! Refusals that are written down one by one until there are many of them, and as sums from then on.
//!
//! Never writes and never forgets: what was taken out and could not be written comes back. Invariants: a minute costs at most
//! [`AT_ONCE`] records or one of each of [`KINDS`], [`SUMS`] sums and one more for each project; memory is bounded, whatever is
//! tried. Pure: the time is handed in. Next: `refused_login.rs` and `refused_call.rs` note, `write_refusals.rs` takes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Time;

/// Refusals of a minute that have a record of their own.
const AT_ONCE: u32 = 60;

/// Kinds of which the first in a minute has a record, where strangers cannot make kinds up.
const KINDS: usize = 1000;

/// Sums of a minute that have a record each, the most frequent first.
const SUMS: usize = 100;

/// Kinds of refusals that are told apart within a minute.
const TOLD_APART: usize = 10_000;

/// A minute of refusals.
const WINDOW: Duration = Duration::from_secs(60);

/// Something that can be refused more than once, in a project.
pub(super) trait Refused: Clone + Eq + Hash + Ord {
    /// Whose record it is. A known caller's, so there are only as many as operators have made.
    fn project(&self) -> &str;
}

/// What was refused lately.
#[derive(Debug)]
pub(super) struct Gathered<K> {
    /// When the minute began.
    since: Time,
    /// Refusals of this minute that were recorded one by one.
    recorded: u32,
    sums: Sums<K>,
}

/// How often what was refused.
#[derive(Clone, Debug)]
pub(super) struct Sums<K> {
    /// Told apart.
    pub(super) each: HashMap<K, u64>,
    /// The others of each project.
    pub(super) rest: BTreeMap<String, u64>,
}

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Self { each: HashMap::new(), rest: BTreeMap::new() }
    }
}

impl<K> Default for Gathered<K> {
    fn default() -> Self {
        Self { since: Time::default(), recorded: 0, sums: Sums::default() }
    }
}

impl<K: Refused> Gathered<K> {
    /// Counts a refusal; whether it is to have a record of its own.
    pub(super) fn note(&mut self, key: K, now: Time) -> bool {
        if self.recorded == 0 && self.sums.is_empty() {
            self.since = now;
        }
        if self.recorded < AT_ONCE {
            self.recorded += 1;
            return true;
        }
        self.sums.add(key, 1);
        false
    }

    /// Counts a refusal; whether it is to have a record of its own, as the first of its kind.
    pub(super) fn note_kind(&mut self, key: K, now: Time) -> bool {
        if self.sums.is_empty() {
            self.since = now;
        }
        if self.sums.each.len() < KINDS && !self.sums.each.contains_key(&key) {
            self.sums.each.insert(key, 0);
            return true;
        }
        self.sums.add(key, 1);
        false
    }

    /// Takes the sums out if the minute is over, or `all` is wanted now.
    pub(super) fn take(&mut self, now: Time, all: bool) -> Sums<K> {
        if !all && self.since.after(WINDOW) > now {
            return Sums::default();
        }
        (self.recorded, self.since) = (0, now);
        std::mem::take(&mut self.sums).shortened()
    }

    /// Takes back in what could not be written.
    pub(super) fn put_back(&mut self, sums: Sums<K>) {
        for (key, count) in sums.each {
            self.sums.add(key, count);
        }
        for (project, count) in sums.rest {
            *self.sums.rest.entry(project).or_default() += count;
        }
    }
}

impl<K> Sums<K> {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.each.is_empty() && self.rest.is_empty()
    }
}

impl<K: Refused> Sums<K> {
    fn add(&mut self, key: K, count: u64) {
        if self.each.len() < TOLD_APART || self.each.contains_key(&key) {
            *self.each.entry(key).or_default() += count;
        } else {
            *self.rest.entry(key.project().to_owned()).or_default() += count;
        }
    }

    /// The most frequent [`SUMS`] stay apart.
    fn shortened(self) -> Self {
        let Self { each, mut rest } = self;
        let mut each: Vec<_> = each.into_iter().filter(|(_, count)| *count > 0).collect();
        each.sort_by(|(one, of_one), (other, of_other)| of_other.cmp(of_one).then(one.cmp(other)));
        for (key, count) in each.drain(SUMS.min(each.len())..) {
            *rest.entry(key.project().to_owned()).or_default() += count;
        }
        Self { each: each.into_iter().collect(), rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Time = Time::from_millis(43_200_000);

    impl Refused for (&'static str, u64) {
        fn project(&self) -> &str {
            self.0
        }
    }

    fn total(sums: &Sums<(&'static str, u64)>) -> u64 {
        sums.each.values().sum::<u64>() + sums.rest.values().sum::<u64>()
    }

    #[test]
    fn the_first_of_a_minute_have_records_of_their_own_and_the_others_are_summed_up_at_its_end() {
        let mut gathered = Gathered::default();
        let recorded = (0..1000).filter(|_| gathered.note(("one", 7), NOON)).count();
        assert_eq!(recorded, AT_ONCE as usize);
        assert!(gathered.take(NOON.after(WINDOW / 2), false).is_empty(), "the minute is not over");
        let sums = gathered.take(NOON.after(WINDOW), false);
        assert_eq!(sums.each, HashMap::from([(("one", 7), 1000 - u64::from(AT_ONCE))]));
        assert!(gathered.note(("one", 7), NOON.after(WINDOW)), "a new minute begins");
    }

    #[test]
    fn the_first_of_each_kind_has_a_record_and_the_same_again_is_counted() {
        let mut gathered = Gathered::default();
        let note = |gathered: &mut Gathered<_>, number| gathered.note_kind(("one", number), NOON);
        assert_eq!((0..300).filter(|number| note(&mut gathered, number % 3)).count(), 3);
        let again = (0..2 * KINDS as u64).filter(|number| note(&mut gathered, *number)).count();
        assert_eq!(again, KINDS - 3, "of many kinds some are only counted");
        assert_eq!(total(&gathered.take(NOON, true)), 300 + KINDS as u64);
    }

    #[test]
    fn however_many_things_are_tried_there_are_few_sums_and_no_count_is_lost() {
        let mut gathered = Gathered::default();
        let (many, often) = (3 * TOLD_APART as u64, ("two", 5));
        for number in 0..many {
            let project = if number % 2 == 0 { "one" } else { "two" };
            gathered.note((project, number), NOON);
            gathered.note(often, NOON);
        }
        let sums = gathered.take(NOON, true);
        assert_eq!((sums.each.len(), sums.rest.len()), (SUMS, 2), "a rest for each project");
        assert_eq!(total(&sums), 2 * many - u64::from(AT_ONCE));
        assert!(sums.each[&often] > many / 2, "the most frequent is named");
        gathered.put_back(sums.clone());
        assert_eq!(
            total(&gathered.take(NOON, true)),
            total(&sums),
            "what was not written comes back"
        );
    }
}
