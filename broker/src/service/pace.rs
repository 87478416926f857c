//! The least time between two tokens of one account for one caller.
//!
//! Never queues: who comes too soon is told when to come back. Invariant: of two calls at once one gets the turn, a call
//! that got no token gives its turn back, and the memory is bounded. It is this broker's own: with three brokers a caller
//! that asks them all gets three times as many. Next: `access_token` claims a turn before it looks for a token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::caller::Caller;
use crate::domain::ids::{AccountId, CallerId};
use crate::service::Error;

/// So many turns are remembered at least, and twice as many at most.
const REMEMBERED: usize = 100_000;

type Who = (CallerId, AccountId);

/// Who had a token of what, and when the next one is due. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<Mutex<Memory>>);

/// Two generations: when the younger is full, the elder is forgotten as a whole.
#[derive(Debug, Default)]
struct Memory {
    younger: HashMap<Who, Time>,
    elder: HashMap<Who, Time>,
}

/// A turn, given back if it is dropped before it was [spent](Self::spent).
#[derive(Debug)]
pub(super) struct Turn(Option<(Pace, Who)>);

impl Pace {
    /// Takes the turn of this caller at this account.
    ///
    /// # Errors
    /// [`Error::CallerThrottled`] if it is not due yet.
    pub(super) fn claim(
        &self,
        caller: &Caller,
        account: &Account,
        now: Time,
    ) -> Result<Turn, Error> {
        if caller.min_interval.is_zero() {
            return Ok(Turn(None));
        }
        let who = (caller.id, account.id);
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = memory.due(&who);
        // A clock that was set back must not lock anybody out for longer than the interval.
        let latest = now.after(caller.min_interval);
        if let Some(due) = due.filter(|due| *due > now && *due <= latest) {
            return Err(Error::CallerThrottled { retry_after: now.until(due) });
        }
        memory.note(who, latest);
        Ok(Turn(Some((self.clone(), who))))
    }
}

impl Memory {
    fn due(&self, who: &Who) -> Option<Time> {
        self.younger.get(who).or_else(|| self.elder.get(who)).copied()
    }

    fn note(&mut self, who: Who, due: Time) {
        if self.younger.len() >= REMEMBERED && !self.younger.contains_key(&who) {
            self.elder = std::mem::take(&mut self.younger);
        }
        self.younger.insert(who, due);
    }
}

impl Turn {
    /// A token was handed out for it.
    pub(super) fn spent(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((pace, who)) = self.0.take() else { return };
        let mut memory = pace.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.younger.remove(&who);
        memory.elder.remove(&who);
    }
}
