//! What the cache keeps, bounded; no waiting and no asking.
//!
//! Invariant: a rejected token never comes in again, a decision against an account puts its token out. Next: `cache`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Key, Outcome};
use crate::errors::Error;
use crate::token::AccessToken;

/// No key is asked about ahead of time more often than this.
pub(super) const LEAST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Table {
    pub(super) entries: HashMap<Key, Entry>,
    pub(super) limit: usize,
}

pub(super) struct Entry {
    pub(super) token: Option<AccessToken>,
    pub(super) rejected: Option<[u8; 32]>,
    pub(super) look_again: Instant,
    pub(super) used: Instant,
    pub(super) flight: Option<watch::Receiver<Outcome>>,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self { token: None, rejected: None, look_again: now, used: now, flight: None }
    }

    /// The token at hand if it will do. One the broker itself called stale does until it is worth asking again.
    pub(super) fn usable(&self, min_ttl: Option<Duration>, now: Instant) -> Option<AccessToken> {
        let token = self.token.as_ref()?;
        let best_there_is = token.is_stale() && now < self.look_again;
        let lives = !token.left(now).is_zero();
        (lives && (best_there_is || token.lasts(min_ttl, now))).then(|| token.clone())
    }
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit }
    }

    /// The entry for `key`, made if need be. `None` if there is no room.
    pub(super) fn entry(&mut self, key: &Key, now: Instant) -> Option<&mut Entry> {
        if !self.entries.contains_key(key) {
            self.make_room(now)?;
            self.entries.insert(key.clone(), Entry::new(now));
        }
        self.entries.get_mut(key)
    }

    /// Takes in what a question led to.
    pub(super) fn settle(&mut self, key: &Key, outcome: &Result<AccessToken, Error>) {
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.flight = None;
        match outcome {
            Ok(token) if entry.rejected == Some(token.hash()) => {}
            Ok(token) => {
                entry.look_again = token.refresh_at().max(now + LEAST_PAUSE);
                if token.is_stale() {
                    entry.look_again = now + LEAST_PAUSE;
                }
                entry.token = Some(token.clone());
                entry.rejected = None;
            }
            Err(error) if passes(error) => {
                let pause = error.retry_after().unwrap_or_default().max(LEAST_PAUSE);
                entry.look_again = now + pause;
            }
            Err(_) => {
                self.entries.remove(key);
            }
        }
    }

    /// Drops what has ended or, if nothing has, what was not used for longest.
    fn make_room(&mut self, now: Instant) -> Option<()> {
        if self.entries.len() < self.limit {
            return Some(());
        }
        let ended = |entry: &Entry| entry.token.as_ref().is_none_or(|t| t.left(now).is_zero());
        self.entries.retain(|_, entry| entry.flight.is_some() || !ended(entry));
        if self.entries.len() >= self.limit {
            let idle = self.entries.iter().filter(|(_, entry)| entry.flight.is_none());
            let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())?;
            self.entries.remove(&oldest);
        }
        Some(())
    }
}

/// Whether a failure says nothing about the token at hand.
pub(super) fn passes(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::Internal { .. })
}
