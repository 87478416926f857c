//! The one place that reads the wall clock.
//!
//! The broker speaks in timestamps, waiting is done on tokio's clock. Invariant: both are read together, once per
//! answer, so that a wall clock that is set later moves no deadline. Next: `token` keeps the tokio side.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) instant: Instant,
}

impl Moment {
    /// This moment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(crate) fn now() -> Self {
        Self { wall: SystemTime::now(), instant: Instant::now() }
    }

    /// The wall clock's `then` on tokio's clock: at the earliest this moment, at the latest in a year.
    pub(crate) fn instant_of(&self, then: SystemTime) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.instant + then.duration_since(self.wall).unwrap_or_default().min(YEAR)
    }
}
