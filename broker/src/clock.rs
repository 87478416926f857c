//! The time of day, handed in so that tests own it.
//!
//! Never read by `domain/`, which is told the time. Deadlines of network waits use tokio's timers, not this.
//! Invariant: this is the only file that asks the system for the time. Next: `assemble` hands a [`Clock`] down.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// A moment in milliseconds since 1970-01-01T00:00:00Z.
///
/// Stored as it is in 64-bit columns of both engines. Arithmetic saturates, so a provider's wild `expires_in` cannot
/// wrap around.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `span` later, at most the end of time.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }

    /// This moment and `span` earlier, at least the beginning of time.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }

    /// How long until `later`; zero if that is past.
    pub fn until(self, later: Time) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.seconds(), self.0.rem_euclid(1000))
    }
}

/// In UTC, to the second (RFC 3339), for people.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp { seconds: self.seconds(), nanos: 0 }.fmt(f)
    }
}

fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`advance`](Self::advance) moves it; clones share it.
    pub fn manual(start: Time) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.millis()))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => {
                Time::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis_of))
            }
            Source::Manual(at) => Time::from_millis(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock; the system's clock cannot be moved and ignores it.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(at) = &self.0 {
            at.fetch_add(millis_of(span), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, forward or back, as somebody sets the clock of a host; the system's clock ignores it.
    pub fn set(&self, now: Time) {
        if let Source::Manual(at) = &self.0 {
            at.store(now.millis(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Time::from_millis(1_000));
        let twin = clock.clone();
        assert_eq!(clock.now(), Time::from_millis(1_000));
        twin.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), Time::from_millis(3_000));
        twin.set(Time::from_millis(7));
        assert_eq!(clock.now(), Time::from_millis(7));
    }

    #[test]
    fn people_read_a_moment_in_utc_to_the_second() {
        assert_eq!(Time::from_millis(1_800_000_000_999).to_string(), "2027-01-15T08:00:00Z");
        assert!(!Time::from_millis(i64::MAX).to_string().is_empty());
        assert!(!Time::from_millis(i64::MIN).to_string().is_empty());
    }

    #[test]
    fn arithmetic_stops_at_the_end_of_time() {
        assert_eq!(Time::from_millis(5).after(Duration::MAX), Time::from_millis(i64::MAX));
        assert_eq!(Time::from_millis(9).until(Time::from_millis(4)), Duration::ZERO);
    }
}
