//! How many refreshes there may be: a token bucket for each app and each token endpoint, and a breaker for each endpoint.
//!
//! Never waits itself: it says how long. Invariants: over any span no more calls are let through than the burst and the rate
//! times the span; what the schedule wants never takes the last of a bucket, so that a caller who waits goes first; an
//! endpoint that fails is asked by one probe at a time, with growing pauses. Next: `service/gates` keeps them per process.

use std::time::Duration;

use super::{Dice, Urgency, backoff};
use crate::clock::Time;

/// Failures in a row, of whichever account, that shut an endpoint.
const SHUTS: u32 = 5;

/// The pause between two probes of an endpoint doubles between these.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A probe that never came back is given up after this.
const PROBE_LOST: Duration = Duration::from_secs(20);

/// How much of a bucket, as a part of 4, is left to callers who wait.
const RESERVE: f64 = 0.25;

/// Lets so many through each second, and as many at once as it gathered in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Time,
}

/// How an endpoint stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// The token endpoint: host, port and path.
    pub endpoint: String,
    /// Failures in a row.
    pub failures: u32,
    /// Until when it is shut, if it is.
    pub shut_until: Option<Time>,
}

impl Bucket {
    /// A full bucket for `rate` calls a second; at least one in a minute.
    pub fn new(rate: f64, now: Time) -> Self {
        let rate = rate.max(1.0 / 60.0);
        let burst = rate.max(1.0);
        Self { rate, burst, level: burst, at: now }
    }

    /// Takes one call out, or says how long to wait for it.
    ///
    /// # Errors
    /// The wait until there is one for this urgency, if nobody else takes it.
    pub fn take(&mut self, urgency: Urgency, now: Time) -> Result<(), Duration> {
        self.fill(now);
        let keeps =
            if urgency == Urgency::Scheduled { (self.burst * RESERVE).floor() } else { 0.0 };
        if self.level >= keeps + 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((keeps + 1.0 - self.level) / self.rate)
            .max(Duration::from_millis(1)))
    }

    /// Puts one back that was not used.
    pub fn give_back(&mut self) {
        self.level = (self.level + 1.0).min(self.burst);
    }

    /// A clock that jumps forward fills no more than the burst; one that jumps back fills nothing until it is itself again.
    fn fill(&mut self, now: Time) {
        let span = self.at.until(now).as_secs_f64();
        self.level = (self.level + span * self.rate).min(self.burst);
        self.at = now;
    }
}

/// Whether an endpoint is asked at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    shut_until: Option<Time>,
    probing_since: Option<Time>,
}

impl Breaker {
    /// Asks to pass.
    ///
    /// # Errors
    /// How long it stays shut.
    pub fn pass(&mut self, now: Time) -> Result<(), Duration> {
        let Some(until) = self.shut_until else { return Ok(()) };
        // A clock that jumped back must not keep it shut for ever.
        if until > now && now.until(until) <= PROBE.1 {
            return Err(now.until(until));
        }
        if let Some(since) = self.probing_since
            && since <= now
            && since.after(PROBE_LOST) > now
        {
            return Err(PROBE.0);
        }
        self.probing_since = Some(now);
        Ok(())
    }

    /// Whoever passed asked nothing after all.
    pub fn give_back(&mut self) {
        self.probing_since = None;
    }

    /// The endpoint answered, whatever it said.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// The endpoint is away or in trouble. True if this shut it.
    pub fn failed(&mut self, now: Time, dice: &mut dyn Dice) -> bool {
        let was_shut = self.shut_until.is_some();
        self.failures = self.failures.saturating_add(1);
        self.probing_since = None;
        if self.failures < SHUTS {
            return false;
        }
        let pause = backoff(self.failures - SHUTS, PROBE.0, PROBE.1, dice);
        self.shut_until = Some(now.after(pause));
        !was_shut
    }

    /// Until when it is shut, if it is.
    pub const fn shut_until(&self) -> Option<Time> {
        self.shut_until
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Fixed, at};
    use super::*;

    fn millis(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_bucket_lets_no_more_through_than_its_rate_over_any_span() {
        let mut bucket = Bucket::new(10.0, at(0));
        let mut through = 0;
        for now in 0..10_000 {
            through += i32::from(bucket.take(Urgency::Wanted, millis(now)).is_ok());
        }
        assert!((108..=110).contains(&through), "{through}");
    }

    #[test]
    fn the_schedule_leaves_a_part_to_callers_who_wait() {
        let mut bucket = Bucket::new(8.0, at(0));
        let scheduled = (0..20).filter(|_| bucket.take(Urgency::Scheduled, at(0)).is_ok()).count();
        let wanted = (0..20).filter(|_| bucket.take(Urgency::Wanted, at(0)).is_ok()).count();
        assert_eq!((scheduled, wanted), (6, 2));
    }

    #[test]
    fn what_was_not_used_goes_back_and_a_wait_is_told() {
        let mut bucket = Bucket::new(1.0, at(0));
        assert_eq!(bucket.take(Urgency::Wanted, at(0)), Ok(()));
        assert_eq!(bucket.take(Urgency::Wanted, at(0)), Err(Duration::from_secs(1)));
        bucket.give_back();
        assert_eq!(bucket.take(Urgency::Wanted, at(0)), Ok(()));
    }

    #[test]
    fn a_clock_that_jumps_harms_no_bucket() {
        let ten_years = 10 * 365 * 24 * 3600;
        let mut bucket = Bucket::new(1.0, at(ten_years));
        assert_eq!(bucket.take(Urgency::Wanted, at(ten_years)), Ok(()));
        assert!(bucket.take(Urgency::Wanted, at(0)).is_err(), "ten years back: no gift");
        assert_eq!(bucket.take(Urgency::Wanted, at(1)), Ok(()), "and no punishment");
        assert_eq!(bucket.take(Urgency::Wanted, at(ten_years)), Ok(()));
        assert!(bucket.take(Urgency::Wanted, at(ten_years)).is_err(), "ten years on: one burst");
    }

    #[test]
    fn an_endpoint_that_fails_is_shut_and_asked_by_one_probe_at_a_time() {
        let mut breaker = Breaker::default();
        let shut: Vec<bool> = (0..6).map(|_| breaker.failed(at(0), &mut Fixed(0))).collect();
        assert_eq!(shut, [false, false, false, false, true, false]);
        assert!(breaker.pass(at(0)).is_err());
        assert_eq!(breaker.pass(at(5)), Ok(()), "the probe");
        assert!(breaker.pass(at(5)).is_err(), "nobody beside it");
        breaker.answered();
        assert_eq!((breaker.pass(at(5)), breaker.pass(at(5))), (Ok(()), Ok(())));
    }

    #[test]
    fn a_probe_that_never_came_back_and_a_clock_that_jumped_keep_nothing_shut() {
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            breaker.failed(at(1_000_000), &mut Fixed(0));
        }
        assert_eq!(breaker.pass(at(0)), Ok(()), "the clock went back");
        assert!(breaker.pass(at(19)).is_err());
        assert_eq!(breaker.pass(at(20)), Ok(()), "the probe is given up");
    }
}
