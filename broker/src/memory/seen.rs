//! A row together with the epoch it was seen at, and what a decision was made on.
//!
//! Never says that a row is as it is now, only since when it was. Next: `store/changes.rs` knows what has changed since.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Time;
use crate::domain::app::App;
use crate::providers::resolved::Resolved;
use crate::store::{Changed, Changes, Sight};

/// A row that was read and checked. Clones share it.
#[derive(Debug)]
pub struct Seen<T> {
    held: Arc<Held<T>>,
    since: i64,
}

#[derive(Debug)]
struct Held<T> {
    value: T,
    what: Changed,
    /// It was as it is at this epoch.
    since: AtomicI64,
    /// When its use was last noted, in milliseconds; 0 for never.
    noted: AtomicI64,
}

impl<T> Seen<T> {
    /// A row of which `since` was the epoch before it was read.
    pub fn new(value: T, what: Changed, since: i64) -> Self {
        let held = Held { value, what, since: AtomicI64::new(since), noted: AtomicI64::new(0) };
        Self { held: Arc::new(held), since }
    }

    /// The same as no newer than something else that was read for it.
    #[must_use]
    pub fn no_newer_than<U>(mut self, other: &Seen<U>) -> Self {
        self.since = self.since.min(other.since);
        self
    }

    /// What was seen, and when.
    pub fn sight(&self) -> Sight {
        Sight { what: self.held.what, since: self.since }
    }

    /// It, if no change since is known; then it was seen now.
    pub(super) fn still(mut self, changes: &Changes) -> Option<Self> {
        let known = changes.known();
        let since = self.held.since.load(Ordering::Acquire);
        if !changes.holds(Sight { what: self.held.what, since }) {
            return None;
        }
        self.held.since.fetch_max(known, Ordering::AcqRel);
        self.since = since.max(known);
        Some(self)
    }

    /// Whether its use is to be noted, `noted` being the last time that is stored. True once each `grain`.
    pub fn is_to_be_noted(&self, stored: Option<Time>, now: Time, grain: Duration) -> bool {
        let last = self.held.noted.load(Ordering::Relaxed);
        let last_known = stored.map_or(0, Time::millis).max(last);
        // A time to come is from a clock that was wrong.
        let lately = last_known <= now.millis() && Time::from_millis(last_known).after(grain) > now;
        if last_known != 0 && lately {
            return false;
        }
        let taken = self.held.noted.compare_exchange(
            last,
            now.millis(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        taken.is_ok()
    }
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), since: self.since }
    }
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.value
    }
}

/// Everything that a decision was made on.
#[derive(Clone, Debug, Default)]
pub struct Basis(Vec<Sight>);

impl Basis {
    /// One that begins with who asks.
    pub fn of<T>(seen: &Seen<T>) -> Self {
        let mut sights = Vec::with_capacity(6);
        sights.push(seen.sight());
        Self(sights)
    }

    /// Adds what was looked at.
    pub fn see<T>(&mut self, seen: &Seen<T>) {
        self.0.push(seen.sight());
    }

    /// Adds something that was looked at without being remembered.
    pub fn see_at(&mut self, what: Changed, since: i64) {
        self.0.push(Sight { what, since });
    }

    /// All of it.
    pub(super) fn sights(&self) -> &[Sight] {
        &self.0
    }

    /// All of it, for the decision lane.
    pub fn into_sights(self) -> Vec<Sight> {
        self.0
    }
}

/// An app, with the providers it stands for by the tenants its accounts are pinned to.
#[derive(Debug)]
pub struct AppAtHand {
    /// The app.
    pub app: App,
    resolved: Mutex<Vec<(String, Arc<Resolved>)>>,
}

/// Tenants of an app whose provider is remembered.
const TENANTS: usize = 256;

impl AppAtHand {
    /// An app whose providers are not known yet.
    pub(super) fn new(app: App) -> Self {
        Self { app, resolved: Mutex::default() }
    }

    /// The provider for `authority`; `resolve` is asked if it is not known.
    ///
    /// # Errors
    /// That of `resolve`.
    pub fn provider<E>(
        &self,
        authority: &str,
        resolve: impl FnOnce() -> Result<Resolved, E>,
    ) -> Result<Arc<Resolved>, E> {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, provider)) = resolved.iter().find(|(name, _)| name == authority) {
            return Ok(Arc::clone(provider));
        }
        let provider = Arc::new(resolve()?);
        if resolved.len() == TENANTS {
            resolved.clear();
        }
        resolved.push((authority.to_owned(), Arc::clone(&provider)));
        Ok(provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AccountId;

    const ANN: Changed = Changed::Account(AccountId::from_bytes([1; 16]));

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let (seen, minute) = (Seen::new((), ANN, 1), Duration::from_secs(60));
        assert!(!seen.is_to_be_noted(Some(at(-10)), at(0), minute), "another broker noted it");
        assert!(seen.is_to_be_noted(Some(at(-60)), at(0), minute));
        assert!(!seen.is_to_be_noted(Some(at(-60)), at(59), minute));
        assert!(seen.is_to_be_noted(None, at(60), minute));
        assert!(seen.is_to_be_noted(Some(at(9999)), at(120), minute), "from a wrong clock");
    }

    #[test]
    fn it_is_no_newer_than_what_it_was_found_by() {
        let (old, new) = (Seen::new((), ANN, 3), Seen::new((), ANN, 7));
        assert_eq!(new.clone().no_newer_than(&old).sight().since, 3);
        assert_eq!(old.no_newer_than(&new).sight().since, 3);
    }
}
