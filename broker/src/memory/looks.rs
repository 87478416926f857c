//! Looks at the rights epoch that many share, for those who are about to be refused.
//!
//! Never tells anybody what was seen before they came. Invariant: whoever asks is answered by a look that began after that;
//! one look is under way at a time, and one that fails is told to all who waited for it. A look waits a moment for others to
//! come, so that an attack costs a few looks and not one each: its answers wait longer than that in any case
//! (`service/refusal_grid.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::store::Result;

/// How long a look waits for others to come.
const GATHER: Duration = Duration::from_millis(5);

/// See above.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Looks that have begun.
    begun: AtomicU64,
    /// The number of the last one that has ended, and how.
    ended: Mutex<(u64, Option<crate::store::Error>)>,
}

impl Looks {
    /// Waits for a look that begins from now on; it is taken by `look` if nobody else takes one.
    ///
    /// # Errors
    /// That of the look.
    pub(super) async fn share<F>(&self, look: impl FnOnce() -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let came = self.begun.load(Ordering::SeqCst);
        let mut ended = self.ended.lock().await;
        if ended.0 <= came {
            tokio::time::sleep(GATHER).await;
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            *ended = (number, look().await.err());
        }
        ended.1.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::store::Error;

    #[tokio::test]
    async fn a_thousand_who_come_together_share_one_look() {
        let (looks, taken) = (Looks::default(), AtomicU64::new(0));
        let look = async || {
            taken.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let all = (0..1_000).map(|_| looks.share(look));
        assert!(futures_of(all).await.iter().all(Result::is_ok));
        assert_eq!(taken.load(Ordering::SeqCst), 1);
        looks.share(look).await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 2, "who comes later looks again");
    }

    #[tokio::test]
    async fn who_comes_while_a_look_is_under_way_waits_for_the_next() {
        let looks = Arc::new(Looks::default());
        let (began, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let of_first = Arc::clone(&looks);
        #[expect(clippy::disallowed_methods, reason = "a test waits for what it starts")]
        let first = tokio::spawn(async move {
            let look = async || {
                began.send(()).unwrap();
                may_go_on.await.unwrap();
                Ok(())
            };
            of_first.share(look).await
        });
        has_begun.await.unwrap();
        let mut looked = false;
        let second = looks.share(async || {
            looked = true;
            Ok(())
        });
        let (second, ()) = tokio::join!(second, async { go_on.send(()).unwrap() });
        second.unwrap();
        first.await.unwrap().unwrap();
        assert!(looked, "what was read before it came does not count");
    }

    #[tokio::test]
    async fn a_look_that_fails_is_told_to_all_who_waited_and_to_nobody_later() {
        let (looks, taken) = (Looks::default(), AtomicU64::new(0));
        let away = async || {
            taken.fetch_add(1, Ordering::SeqCst);
            Err(Error::Busy)
        };
        let all = futures_of((0..10).map(|_| looks.share(away))).await;
        assert!(all.iter().all(Result::is_err), "{all:?}");
        assert_eq!(
            taken.load(Ordering::SeqCst),
            1,
            "they do not wait for one failure after another"
        );
        assert_eq!(looks.share(async || Ok(())).await, Ok(()));
    }

    /// All of them at once.
    async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut ends: Vec<_> = all.iter().map(|_| None).collect();
        std::future::poll_fn(|context| {
            for (future, end) in all.iter_mut().zip(&mut ends) {
                if end.is_none()
                    && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
                {
                    *end = Some(output);
                }
            }
            match ends.iter().all(Option::is_some) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        ends.into_iter().flatten().collect()
    }
}
