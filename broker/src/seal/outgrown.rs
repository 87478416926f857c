//! Keyed hashes under an older term whose secret was at hand a moment ago: the one chance to make them anew.
//!
//! Never holds a secret, only the hash that is to replace another. Invariant: bounded; what does not fit has its next chance
//! at the next use. Next: `service/rehash` stores them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::credential::{CredentialKeyId, KeyedHash, Kind};

/// The most that wait; they are taken every second.
const MOST: usize = 4096;

/// A hash that was right, and the one that says the same under the active term.
#[derive(Clone, Debug)]
pub struct Outgrown {
    /// What it is for.
    pub kind: Kind,
    /// Whose.
    pub id: CredentialKeyId,
    /// As it is stored.
    pub old: KeyedHash,
    /// To be stored instead.
    pub new: KeyedHash,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Outgrown>>);

impl Waiting {
    pub(super) fn add(&self, outgrown: Outgrown) {
        let mut waiting = self.lock();
        if waiting.len() < MOST && !waiting.iter().any(|one| one.id == outgrown.id) {
            waiting.push(outgrown);
        }
    }

    pub(super) fn take(&self) -> Vec<Outgrown> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Outgrown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
