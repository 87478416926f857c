//! When a refused login is answered: at whole steps of time after it came, so that the work it took does not show.
//!
//! What is known of an unknown id, a wrong secret and a right one that may not be used here differs, and so does the work of
//! finding it out, by caches and database pages that nobody can make equal. Invariant: as long as that work takes less than
//! a step, every refusal takes one step; if it takes more, the next. Whoever waits here holds no connection and no place among
//! the decisions. Next: `open_session` asks; `make timing` measures it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::failpoint;

/// A step: well above what a refusal costs, well below the second that an adapter waits with the answer anyway.
pub const REFUSAL_STEP: Duration = Duration::from_millis(50);

/// Waits for the end of the step that a login, which came at `arrived`, is in.
pub(super) async fn end_of_step(arrived: Instant) {
    if !failpoint::skips("refusal.step") {
        sleep_until(arrived + end_after(arrived.elapsed())).await;
    }
}

/// How long after its arrival a login is answered that was refused after `spent`.
fn end_after(spent: Duration) -> Duration {
    let steps = spent.as_nanos() / REFUSAL_STEP.as_nanos() + 1;
    REFUSAL_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_whatever_was_spent_within_a_step_the_answer_comes_at_its_end() {
        let at = |spent: f64| end_after(REFUSAL_STEP.mul_f64(spent)).as_millis();
        let step = REFUSAL_STEP.as_millis();
        assert_eq!([at(0.0), at(0.001), at(0.5), at(0.999)], [step; 4]);
        assert_eq!([at(1.0), at(1.5), at(2.2)], [step * 2, step * 2, step * 3]);
    }
}
