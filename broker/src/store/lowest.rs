//! The lowest of a figure of late: what it is when nothing is in its way.
//!
//! Never forgets the whole past at once: what is read is the lowest of one to two spans. Invariant: one notes, any number read.
//! Next: `lane.rs` notes how long its groups take to commit.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a figure counts, in microseconds.
const SPAN: u64 = 5_000_000;

/// See above.
#[derive(Debug)]
pub(super) struct Lowest {
    /// When the span began.
    since: AtomicU64,
    /// The lowest since then.
    current: AtomicU64,
    /// The lowest of the span before.
    former: AtomicU64,
}

impl Lowest {
    /// Before anything was noted.
    pub(super) const fn new() -> Self {
        Self {
            since: AtomicU64::new(0),
            current: AtomicU64::new(u64::MAX),
            former: AtomicU64::new(u64::MAX),
        }
    }

    /// Notes a figure at `now`, in microseconds.
    pub(super) fn note(&self, figure: u64, now: u64) {
        if now.saturating_sub(self.since.load(Ordering::Relaxed)) >= SPAN {
            self.since.store(now, Ordering::Relaxed);
            self.former.store(self.current.load(Ordering::Relaxed), Ordering::Relaxed);
            self.current.store(figure, Ordering::Relaxed);
        }
        self.current.fetch_min(figure, Ordering::Relaxed);
    }

    /// The lowest, or nothing if none was noted.
    pub(super) fn get(&self) -> Option<u64> {
        let lowest = self.current.load(Ordering::Relaxed).min(self.former.load(Ordering::Relaxed));
        (lowest < u64::MAX).then_some(lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_is_kept_for_one_span_to_two_and_then_forgotten() {
        let lowest = Lowest::new();
        assert_eq!(lowest.get(), None);
        for (figure, now, expected) in [
            (7, 1, 7),
            (3, 2, 3),
            (9, SPAN - 1, 3),
            (9, SPAN + 1, 3),
            (5, SPAN + 2, 3),
            (9, 2 * SPAN + 1, 5),
            (9, 3 * SPAN + 1, 9),
        ] {
            lowest.note(figure, now);
            assert_eq!(lowest.get(), Some(expected), "{figure} at {now}");
        }
    }
}
