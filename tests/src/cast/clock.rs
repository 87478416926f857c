//! The cast's time of day, which a test may stop and move.
//!
//! Token lives, codes and flapping go by this clock; deadlines of network waits never do. Running, it is the system's
//! clock plus what was added by hand; frozen, it stands until moved. Next: [`super::provider::Provider::advance`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock shared by its clones. Times are milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Hands>>);

#[derive(Debug, Default)]
struct Hands {
    frozen_at: Option<i64>,
    ahead_ms: i64,
}

impl Clock {
    /// A clock that runs with the system's.
    pub fn running() -> Self {
        Self::default()
    }

    /// A clock that stands at `at_ms`.
    pub fn frozen(at_ms: i64) -> Self {
        let clock = Self::default();
        clock.freeze(at_ms);
        clock
    }

    /// The time now, in milliseconds.
    pub fn now_ms(&self) -> i64 {
        let hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.frozen_at.unwrap_or_else(system_ms).saturating_add(hands.ahead_ms)
    }

    /// The time now, in whole seconds.
    pub fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    /// Moves the clock forward, running or frozen.
    pub fn advance(&self, span: Duration) {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.ahead_ms = hands.ahead_ms.saturating_add(span);
    }

    /// Stops the clock at `at_ms`; also the way to move it back.
    pub fn freeze(&self, at_ms: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Hands { frozen_at: Some(at_ms), ahead_ms: 0 };
    }

    /// Lets the clock run with the system's, `ahead_ms` before it or (negative) behind it: a clock that is set wrong.
    pub fn offset(&self, ahead_ms: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Hands { frozen_at: None, ahead_ms };
    }

    /// Lets the clock run with the system's again, without what was added by hand.
    pub fn run(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Hands::default();
    }
}

#[expect(clippy::disallowed_methods, reason = "the cast is the world outside; it owns its time")]
fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
