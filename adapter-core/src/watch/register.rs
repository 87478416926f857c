//! The sessions that are here, each with a way to tell it to end.
//!
//! Never waits. Invariants: an end that comes before its session is here is kept for [`KEPT`], so that a session which was
//! opened while it was taken back ends as soon as it begins; while the register is closed every session ends.
//! Next: `watch` tells, `relay` obeys.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dialogue::Farewell;

/// How long an end waits for its session: longer than the answer to a login takes to come.
const KEPT: Duration = Duration::from_secs(60);
/// Most ends that wait; several adapters may share one key, and then each hears of the others' sessions.
const WAITING: usize = 65_536;

/// The register. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Register(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    here: HashMap<String, (usize, Arc<Order>)>,
    early: HashMap<String, Farewell>,
    came: VecDeque<(Instant, String)>,
    closed: bool,
}

/// What a session was told.
#[derive(Debug, Default)]
struct Order {
    why: OnceLock<Farewell>,
    told: CancellationToken,
}

/// A session's entry; it is gone when this is dropped.
#[derive(Debug)]
pub struct Watched {
    register: Register,
    id: String,
    order: Arc<Order>,
}

impl Register {
    /// Enters a session, as soon as the broker has named it.
    pub fn enter(&self, id: &str) -> Watched {
        let mut book = self.lock();
        book.forget(Instant::now());
        let why = if book.closed { Some(Farewell::CutOff) } else { book.early.get(id).copied() };
        let (count, order) = book.here.entry(id.to_owned()).or_default();
        *count += 1;
        let order = Arc::clone(order);
        drop(book);
        if let Some(why) = why {
            order.give(why);
        }
        Watched { register: self.clone(), id: id.to_owned(), order }
    }

    /// Tells a session to end; remembered if it is not here. True if it is.
    pub(crate) fn end(&self, id: &str, why: Farewell) -> bool {
        let mut book = self.lock();
        if let Some((_, order)) = book.here.get(id) {
            order.give(why);
            return true;
        }
        let now = Instant::now();
        book.forget(now);
        if book.early.insert(id.to_owned(), why).is_none() {
            book.came.push_back((now, id.to_owned()));
        }
        false
    }

    /// Tells all sessions to end. Says how many.
    pub(crate) fn end_all(&self, why: Farewell) -> usize {
        let book = self.lock();
        book.here.values().for_each(|(_, order)| order.give(why));
        book.here.len()
    }

    /// Tells all sessions to end, also those that are entered from now on.
    pub(crate) fn close(&self) -> usize {
        self.lock().closed = true;
        self.end_all(Farewell::CutOff)
    }

    /// Lets sessions live again.
    pub(crate) fn reopen(&self) {
        self.lock().closed = false;
    }

    /// Whether no session may live.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn forget(&mut self, now: Instant) {
        while let Some((came, _)) = self.came.front() {
            if now.duration_since(*came) < KEPT && self.came.len() < WAITING {
                return;
            }
            if let Some((_, id)) = self.came.pop_front() {
                self.early.remove(&id);
            }
        }
    }
}

impl Order {
    /// The first word counts.
    fn give(&self, why: Farewell) {
        let _ = self.why.set(why);
        self.told.cancel();
    }
}

impl Watched {
    /// Resolves when the session has to end.
    pub async fn told(&self) -> Farewell {
        self.order.told.cancelled().await;
        self.order.why.get().copied().unwrap_or(Farewell::Revoked)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.register.lock().here.entry(self.id.clone()) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll_once;

    use super::*;

    /// What a session was told so far.
    mod futures {
        use std::future::{Future, poll_fn};
        use std::pin::pin;
        use std::task::Poll;

        pub(super) async fn poll_once<F: Future>(work: F) -> Option<F::Output> {
            let mut work = pin!(work);
            poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_here_is_told_and_no_other() {
        let register = Register::default();
        let (first, second) = (register.enter("1"), register.enter("2"));
        assert!(register.end("1", Farewell::Revoked));
        assert!(register.end("1", Farewell::Operator), "told twice, the first word counts");
        assert_eq!(poll_once(first.told()).await, Some(Farewell::Revoked));
        assert_eq!(poll_once(second.told()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_came_before_its_session_is_not_missed() {
        let register = Register::default();
        assert!(!register.end("1", Farewell::NeedsConsent));
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        let session = register.enter("1");
        assert_eq!(poll_once(session.told()).await, Some(Farewell::NeedsConsent));
        drop(session);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(poll_once(register.enter("1").told()).await, None, "it does not wait for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_that_wait_for_nobody_are_bounded() {
        let register = Register::default();
        for id in 0..WAITING + 10 {
            register.end(&id.to_string(), Farewell::Revoked);
        }
        let book = register.lock();
        assert!(book.early.len() <= WAITING && book.came.len() == book.early.len());
        assert!(book.early.contains_key(&(WAITING + 9).to_string()), "the newest are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_is_closed_every_session_ends() {
        let register = Register::default();
        let before = register.enter("1");
        assert_eq!(register.close(), 1);
        let meanwhile = register.enter("2");
        for session in [&before, &meanwhile] {
            assert_eq!(poll_once(session.told()).await, Some(Farewell::CutOff));
        }
        register.reopen();
        assert_eq!(poll_once(register.enter("3").told()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_remembered_of_sessions_that_left() {
        let register = Register::default();
        let (first, second) = (register.enter("1"), register.enter("1"));
        drop(first);
        assert!(register.end("1", Farewell::Revoked), "one of two is still here");
        drop(second);
        assert!(register.lock().here.is_empty());
    }
}
