//! The only randomness of a simulation: one generator for each seed.
//!
//! Never asks the system for anything. Invariant: the same seed gives the same numbers in the same order. Next: `plan`.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use token_broker::domain::refresh::Dice;

/// Numbers from a seed.
#[derive(Debug)]
pub(super) struct Chance(StdRng);

impl Chance {
    pub(super) fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// From `least` to `most`, both possible.
    pub(super) fn within(&mut self, least: i64, most: i64) -> i64 {
        self.0.random_range(least..=most.max(least))
    }

    /// An index below `count`, which is not 0.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// True in so many of a thousand cases.
    pub(super) fn permille(&mut self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.0.random_range(0..1000) < of_thousand
    }

    /// A pause of about `mean` milliseconds: often short, sometimes four times as long.
    pub(super) fn pause(&mut self, mean: i64) -> i64 {
        let (one, two) = (self.within(0, 2 * mean), self.within(0, 2 * mean));
        1 + one * two / mean.max(1)
    }
}

impl Dice for Chance {
    fn roll(&mut self) -> u16 {
        u16::try_from(self.0.next_u32() >> 16).unwrap_or(u16::MAX)
    }
}
