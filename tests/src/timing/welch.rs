//! Welch's t, and where samples are cut.
//!
//! Never looks at which class a sample is of when it cuts: one limit for all, so that the cut itself tells nothing. Pure.

/// Above this two classes are told apart for certain; dudect's authors take 4.5 for a doubt.
pub const LIMIT: f64 = 5.0;

/// How many percent of all samples are kept, the slowest left out.
pub const CUTS: [f64; 4] = [100.0, 99.0, 90.0, 50.0];

/// Number, mean and spread of some times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    /// Of the times that are no longer than `limit` (B. P. Welford's way, which loses no digits).
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds fit")]
    pub fn below(times: &[u64], limit: u64) -> Self {
        times.iter().filter(|time| **time <= limit).fold(Self::default(), |mut this, time| {
            let off = *time as f64 - this.mean;
            this.count += 1.0;
            this.mean += off / this.count;
            this.squares += off * (*time as f64 - this.mean);
            this
        })
    }

    /// The mean.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    fn variance(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { self.squares / (self.count - 1.0) }
    }
}

/// Welch's t between two samples; 0 of too few.
pub fn t(one: Sample, other: Sample) -> f64 {
    if one.count < 2.0 || other.count < 2.0 {
        return 0.0;
    }
    let error = (one.variance() / one.count + other.variance() / other.count).sqrt();
    let apart = one.mean - other.mean;
    match error > 0.0 {
        true => apart / error,
        false if apart == 0.0 => 0.0,
        false => f64::INFINITY.copysign(apart),
    }
}

/// The longest time that is kept under each of [`CUTS`], of all classes together.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
pub fn limits(classes: &[Vec<u64>]) -> [u64; CUTS.len()] {
    let mut all: Vec<u64> = classes.iter().flatten().copied().collect();
    all.sort_unstable();
    CUTS.map(|percent| {
        let kept = (all.len() as f64 * percent / 100.0).ceil() as usize;
        all.get(kept.saturating_sub(1)).copied().unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn noise(seed: u64, more: u64) -> Vec<u64> {
        let mut dice = StdRng::seed_from_u64(seed);
        (0..20_000).map(|_| dice.random_range(40_000_u64..60_000) + more).collect()
    }

    fn of(one: &[u64], other: &[u64]) -> f64 {
        t(Sample::below(one, u64::MAX), Sample::below(other, u64::MAX))
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a few small numbers")]
    fn t_is_what_the_definition_says() {
        let one = [172, 209, 226, 181, 198, 216, 207, 179, 214];
        let other = [214, 225, 201, 190, 256, 188, 233, 245];
        let by_hand = {
            let mean = |all: &[u64]| all.iter().sum::<u64>() as f64 / all.len() as f64;
            let variance = |all: &[u64]| {
                let m = mean(all);
                all.iter().map(|it| (*it as f64 - m).powi(2)).sum::<f64>() / (all.len() - 1) as f64
            };
            (mean(&one) - mean(&other)) / (variance(&one) / 9.0 + variance(&other) / 8.0).sqrt()
        };
        assert!((of(&one, &other) - by_hand).abs() < 1e-9);
    }

    #[test]
    fn noise_alone_is_not_told_apart_and_one_percent_more_is() {
        assert!(of(&noise(1, 0), &noise(2, 0)).abs() < LIMIT);
        assert!(of(&noise(1, 0), &noise(2, 500)).abs() > LIMIT);
    }

    #[test]
    fn a_few_very_slow_samples_do_not_hide_a_difference() {
        let (mut one, mut other) = (noise(3, 0), noise(4, 500));
        one.extend([4_000_000_000; 20]);
        other.extend([4_000_000_000; 20]);
        assert!(of(&one, &other).abs() < LIMIT, "over all samples it is hidden");
        let limit = limits(&[one.clone(), other.clone()])[1];
        let cut = t(Sample::below(&one, limit), Sample::below(&other, limit));
        assert!(cut.abs() > LIMIT, "{cut}");
    }
}
