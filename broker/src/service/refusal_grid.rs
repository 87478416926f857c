//! When a refused login is answered: at whole steps of time after it came, so that the work it took does not show.
//!
//! What is known of an unknown id, a wrong secret and a right one that may not be used here differs, and so does the work of
//! finding it out, by caches and database pages that nobody can make equal. Invariants: as long as that work takes less than
//! a step, every refusal takes one step; if it takes more, the next. The clock of a step is set before the work begins, so
//! that even the moment of waking is the same. Whoever waits here holds no connection and no place, neither among the
//! decisions nor at the entrance. Next: `open_session` asks; `make timing` measures it.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::credential::Credential;
use crate::failpoint;
use crate::memory::Seen;
use crate::service::{Error, Service};

/// A step: well above what a refusal costs, well below the second that an adapter waits with the answer anyway.
pub const REFUSAL_STEP: Duration = Duration::from_millis(100);

/// Does `work`; what of its outcome `is_refusal` comes out at the end of a step, and gives its place up until then.
pub(super) async fn in_steps<T, P>(
    work: impl Future<Output = T>,
    is_refusal: impl FnOnce(&T) -> bool,
    step_out: impl FnOnce() -> P,
) -> T {
    let (arrived, mut steps) = (Instant::now(), 1);
    let mut end = pin!(sleep_until(arrived + REFUSAL_STEP));
    let mut work = pin!(work);
    let outcome = loop {
        tokio::select! {
            biased;
            () = &mut end => {
                steps += 1;
                end.as_mut().reset(arrived + REFUSAL_STEP * steps);
            }
            outcome = &mut work => break outcome,
        }
    };
    if is_refusal(&outcome) && !failpoint::skips("refusal.step") {
        let _outside = step_out();
        end.await;
    }
    outcome
}

impl Service {
    /// The credential of this id. Where none is remembered, the look that all refusals share begins beside the read, so that an
    /// unknown id is on its way for no longer than a wrong secret; `looked` says whether it was taken.
    pub(super) async fn credential_of(
        &self,
        id: &str,
        looked: &mut bool,
    ) -> Result<Option<Seen<Credential>>, Error> {
        if let Some(known) = self.memory.known_credential(id) {
            return Ok(Some(known));
        }
        let mut read = pin!(self.memory.read_credential(id));
        let mut look = pin!(self.look_before_refusing());
        tokio::select! {
            biased;
            found = &mut read => {
                if let Some(found) = found? {
                    return Ok(Some(found));
                }
                look.await?;
                *looked = true;
                Ok(None)
            }
            ended = &mut look => {
                ended?;
                *looked = true;
                Ok(read.await?)
            }
        }
    }

    /// Gets to know every change that was acknowledged by now, in one look for all who are to be refused.
    pub(super) async fn look_before_refusing(&self) -> Result<(), Error> {
        if failpoint::skips("refusal.look") {
            return Ok(());
        }
        // One look is taken, however many wait for it: they must not fill the entrance before those with a right password.
        let _outside = self.entrance.step_out();
        Ok(self.memory.catch_up_together().await?)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn t12_a_refusal_comes_at_the_end_of_a_step_however_soon_it_was_known() {
        for (took, steps) in [(Duration::ZERO, 1), (REFUSAL_STEP / 2, 1), (REFUSAL_STEP * 3 / 2, 2)]
        {
            let began = Instant::now();
            in_steps(tokio::time::sleep(took), |()| true, || ()).await;
            assert!(began.elapsed() >= REFUSAL_STEP * steps, "{took:?}: {:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn who_waits_with_a_refusal_has_given_its_place_up_and_nobody_else_has() {
        let given_up = std::cell::Cell::new(0);
        let step_out = || given_up.set(given_up.get() + 1);
        for (is_refusal, expected) in [(false, 0), (true, 1)] {
            let mut answer = pin!(in_steps(std::future::ready(7), |_| is_refusal, step_out));
            let _ = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(given_up.get(), expected);
        }
    }

    #[tokio::test]
    async fn what_is_no_refusal_does_not_wait() {
        let mut granted = pin!(in_steps(std::future::ready(7), |_| false, || ()));
        let polled = granted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(7));
        let mut refused = pin!(in_steps(std::future::ready(7), |_| true, || ()));
        let polled = refused.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Pending);
    }
}
