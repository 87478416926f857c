//! The keyring while the broker runs: read again when another broker changed it, changed in one transaction.
//!
//! Never keeps a key-encryption key. Invariants: the keys in use are those of the rows that were read last; a change is made
//! only to the rows it was made for. Next: `create_key_term`, `rotate_kek` and `remove_key_term` change it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::caller::Manage;
use crate::domain::event::{Event, What};
use crate::seal::{Kek, Keyring, SealedTerm};
use crate::service::{Error, Service};
use crate::store::{self, KeyTerm, Tx, Work};

/// The rows whose keys are in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Vec<KeyTerm>>>);

impl Held {
    fn is(&self, rows: &[KeyTerm]) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == rows
    }

    fn hold(&self, rows: Vec<KeyTerm>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

impl Service {
    /// Goes on with the stored keyring, if that is another than the one in use.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or [`Error::Ours`] if it cannot be opened; then the one in use stays.
    pub async fn reload_keyring(&self) -> Result<(), Error> {
        self.stored_keyring().await.map(drop)
    }

    /// The stored keyring, which is in use from now on, and its rows.
    pub(super) async fn stored_keyring(&self) -> Result<(Arc<Keyring>, Vec<KeyTerm>), Error> {
        let rows = self.read().await?.keyring().await?;
        if self.held.is(&rows) {
            return Ok((self.parts.sealer.keyring(), rows));
        }
        let sealed = rows.iter().cloned().map(sealed_term).collect();
        let instance = self.parts.sealer.instance();
        let keyring = self.parts.custody.open(instance, sealed).map_err(Error::ours)?;
        tracing::info!(?keyring, "the keyring was read");
        self.adopt(keyring, rows.clone());
        Ok((self.parts.sealer.keyring(), rows))
    }

    /// The key-encryption key that sealed these rows.
    pub(super) fn kek_of(&self, rows: &[KeyTerm]) -> Result<Kek, Error> {
        let id = rows.first().map_or("", |row| row.kek_id.as_str());
        self.parts.custody.find(id).map_err(Error::ours)
    }

    /// Puts a keyring, sealed by `kek`, in the place of the rows `seen`, and goes on with it. `check` is asked within the
    /// transaction whether anything stands in the way.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`] if the rows changed meanwhile, [`Error::InUse`] with what stands in the way.
    pub(super) async fn change_keyring<C>(
        &self,
        (keyring, kek): (Keyring, &Kek),
        seen: Vec<KeyTerm>,
        event: Event,
        check: C,
    ) -> Result<(), Error>
    where
        C: for<'t> FnOnce(&'t mut Tx) -> Work<'t, Option<String>> + Send + 'static,
    {
        let rows = keyring.rewrap(kek, &self.parts.entropy);
        let rows: Vec<KeyTerm> = rows.into_iter().map(key_term).collect();
        let new = rows.clone();
        let obstacle = self
            .write(move |tx| {
                Box::pin(async move {
                    if tx.keyring().await? != seen {
                        return Err(store::Error::Stale { what: "keyring" });
                    }
                    if let Some(obstacle) = check(tx).await? {
                        return Ok(Some(obstacle));
                    }
                    tx.replace_keyring(&rows).await?;
                    tx.append_audit(event).await?;
                    Ok(None)
                })
            })
            .await?;
        if let Some(obstacle) = obstacle {
            return Err(Error::InUse(obstacle));
        }
        self.adopt(keyring, new);
        Ok(())
    }

    /// An audit record about the keys.
    pub(super) fn key_event(&self, permit: &Manage, what: What, subject: &str) -> Event {
        self.managed(permit, what, "", subject)
    }

    fn adopt(&self, keyring: Keyring, rows: Vec<KeyTerm>) {
        // What is remembered may be under a term that is gone with this; the store has nothing under it any more. Once more
        // afterwards, for what was read meanwhile.
        self.memory.forget_everything();
        self.parts.sealer.adopt(keyring);
        self.held.hold(rows);
        self.memory.forget_everything();
    }
}

/// Nothing stands in the way.
pub(super) fn unchecked(_: &mut Tx) -> Work<'_, Option<String>> {
    Box::pin(async { Ok(None) })
}

/// A stored row for `seal`.
pub fn sealed_term(row: KeyTerm) -> SealedTerm {
    let KeyTerm { term, sealed, kek_id, active } = row;
    SealedTerm { term, sealed, kek_id, active }
}

/// A row of `seal` for the store.
pub fn key_term(term: SealedTerm) -> KeyTerm {
    let SealedTerm { term, sealed, kek_id, active } = term;
    KeyTerm { term, sealed, kek_id, active }
}
