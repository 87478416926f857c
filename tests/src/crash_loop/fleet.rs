//! The accounts and what their clients know for sure.
//!
//! Only what was acknowledged goes in here. Invariant: an epoch ends when a revocation or the consent after it begins, so an
//! answer that belongs to an earlier epoch proves nothing about this one. Next: [`super::load`] writes it, [`super::judge`]
//! reads it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Mode;

/// An account and its clients' knowledge.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) mode: Mode,
    pub(super) mailbox: String,
    /// `projects/{project}/accounts/{account}`.
    pub(super) name: String,
    facts: Mutex<Facts>,
}

/// How it stands, as far as that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Connected.
    Active,
    /// Given back.
    Revoked,
    /// A revocation or consent was begun and not acknowledged.
    Unsure,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) status: Status,
    pub(super) epoch: u64,
    /// The highest generation that was acknowledged in this epoch.
    pub(super) generation: i64,
    /// The id of the newest token whose answer was acknowledged in this epoch.
    pub(super) newest: usize,
    /// Grants that were acknowledged since the last judgement.
    pub(super) granted: u64,
    /// Calls for a token since then that ended without an answer.
    pub(super) unsure: u64,
    /// Found lost by a judgement that a kill cut off: whether that was told at the start.
    pub(super) lost: Option<bool>,
}

impl Member {
    pub(super) fn new(mode: Mode, mailbox: String, name: String) -> Self {
        let (status, epoch) = (Status::Active, 0);
        let facts =
            Facts { status, epoch, generation: 0, newest: 0, granted: 0, unsure: 0, lost: None };
        Self { mode, mailbox, name, facts: Mutex::new(facts) }
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// Something begins whose end is open.
    pub(super) fn begin_epoch(&mut self) {
        (self.status, self.generation, self.newest) = (Status::Unsure, 0, 0);
        self.epoch += 1;
    }

    /// All is known: it is connected, and these are its newest generation and token.
    pub(super) fn settle(&mut self, generation: i64, newest: usize) {
        self.begin_epoch();
        (self.status, self.generation, self.newest) = (Status::Active, generation, newest);
        self.lost = None;
    }
}

/// The invariants that were broken, in words; each once.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<BTreeSet<String>>);

impl Verdicts {
    pub(super) fn broken(&self, invariant: &str, member: &Member, what: &str) {
        self.add(format!("{invariant}: {} ({}): {what}", member.mailbox, member.mode.name()));
    }

    pub(super) fn add(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
