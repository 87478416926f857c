//! Taking this process out of service, and back.
//!
//! Never ends what runs and never stops the admin plane. Invariant: after the answer no new call of a service or an adapter is
//! let in and no scheduled refresh starts; nothing of it is stored, so a restart serves again. Next: `grpc/room.rs`
//! refuses, `presence` tells the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::service::{Error, Service};

/// Whether the process drains, and what it is at. Clones share it.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    draining: watch::Sender<bool>,
    calls: AtomicI64,
}

/// A call that was let in; dropping it says that it has been answered.
#[derive(Debug)]
pub struct LetIn(Drain);

/// How the process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Whether new calls are refused.
    pub draining: bool,
    /// Calls of services and adapters that are being answered.
    pub calls: i64,
    /// Refreshes under way.
    pub refreshes: i64,
}

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Inner { draining: watch::Sender::new(false), calls: AtomicI64::new(0) }))
    }
}

impl Drain {
    /// Lets a call in, unless the process drains. Whoever is let in was counted before it was asked, so that none slips through
    /// unseen.
    pub fn enter(&self) -> Option<LetIn> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let call = LetIn(self.clone());
        (!*self.0.draining.borrow()).then_some(call)
    }

    /// Tells changes, beginning with what is now.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.0.draining.subscribe()
    }
}

impl Drop for LetIn {
    fn drop(&mut self) {
        self.0.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    /// Refuses new calls from now on, or no longer.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: then nothing changed.
    pub async fn set_draining(&self, permit: &Manage, drain: bool) -> Result<Serving, Error> {
        if self.is_draining() != drain {
            let what = if drain { What::BrokerDrained } else { What::BrokerResumed };
            self.record(self.managed(permit, what, "", &self.parts.replica)).await?;
            self.drain.0.draining.send_replace(drain);
            tracing::warn!(drain, "an operator took this broker out of service, or back");
        }
        Ok(self.serving())
    }

    /// How the process serves.
    pub fn serving(&self) -> Serving {
        Serving {
            draining: self.is_draining(),
            calls: self.drain.0.calls.load(Ordering::SeqCst),
            refreshes: i64::try_from(self.flights.count()).unwrap_or(i64::MAX),
        }
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        *self.drain.0.draining.borrow()
    }

    /// For the doors: whom to let in.
    pub const fn drain(&self) -> &Drain {
        &self.drain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_let_in_is_counted_until_it_ends_and_one_that_was_not_is_not() {
        let drain = Drain::default();
        let calls = |drain: &Drain| drain.0.calls.load(Ordering::SeqCst);
        let call = drain.enter().unwrap();
        assert_eq!(calls(&drain), 1);
        drain.0.draining.send_replace(true);
        assert!(drain.enter().is_none());
        assert_eq!(calls(&drain), 1);
        drop(call);
        assert_eq!(calls(&drain), 0);
        drain.0.draining.send_replace(false);
        assert!(drain.enter().is_some());
    }
}
