//! When keys, credentials and tokens were last used, written down beside the calls.
//!
//! Never makes a call wait or fail. Invariants: one write at a time, of all that came during the last one; the list has a
//! bound, and what is beyond it is not noted.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Time;
use crate::domain::ids::{AccountId, CallerKeyId, CredentialId};
use crate::store::{Result, Store, Tx};
use crate::tasks::Tasks;

/// A use of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// A call with an API key.
    Key(CallerKeyId, Time),
    /// A login with a proxy credential, from an address.
    Credential(CredentialId, Time, String),
    /// An account's token for an audience was asked for.
    Token(AccountId, String, Time),
}

/// Uses that may wait to be written.
const WAITING: usize = 10_000;
/// Uses that are written in one job.
const JOB: usize = 200;

/// See above.
#[derive(Clone, Debug)]
pub(super) struct Uses {
    list: Arc<Mutex<List>>,
    store: Store,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct List {
    waiting: Vec<Use>,
    /// Whether somebody is writing.
    taken_care_of: bool,
}

impl Uses {
    pub(super) fn new(store: Store, tasks: Tasks) -> Self {
        Self { list: Arc::default(), store, tasks }
    }

    /// Has it written down soon.
    pub(super) fn note(&self, one: Use) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.waiting.len() < WAITING {
            list.waiting.push(one);
        }
        if !std::mem::replace(&mut list.taken_care_of, true) {
            let uses = self.clone();
            drop(self.tasks.spawn(async move { uses.write().await }));
        }
    }

    async fn write(&self) {
        while let Some(batch) = self.next_batch() {
            let noted = self.store.write(move |tx| {
                Box::pin(async move {
                    for one in &batch {
                        one.write(tx).await?;
                    }
                    Ok(())
                })
            });
            if let Err(error) = noted.await {
                tracing::debug!(%error, "some uses were not noted");
            }
        }
    }

    fn next_batch(&self) -> Option<Vec<Use>> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.waiting.is_empty() {
            list.taken_care_of = false;
            return None;
        }
        let rest = list.waiting.len().saturating_sub(JOB);
        Some(list.waiting.split_off(rest))
    }
}

impl Use {
    async fn write(&self, tx: &mut Tx) -> Result<()> {
        match self {
            Self::Key(id, at) => tx.touch_caller_key(*id, *at).await,
            Self::Credential(id, at, from) => tx.touch_credential(*id, *at, from).await,
            Self::Token(account, audience, at) => {
                tx.touch_access_token(*account, audience, *at).await
            }
        }
    }
}
