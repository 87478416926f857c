//! The instance in a store: its id and its keys.
//!
//! Never makes keys where there are some, and never serves without: both would make everything sealed unreadable.
//! Next: `seal` takes the keyring.

use crate::assemble::NewInstance;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::seal::{Custody, CustodyError, Keyring, Sealer, SourceError};
use crate::service::keyring::{key_term, sealed_term};
use crate::store::{self, Instance, KeyTerm, Store};

/// Why the store's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The store is empty.
    #[error("the store has no keys yet: run `token-broker init` first, or name another store")]
    Empty,
    /// No key-encryption key at hand opens the keyring.
    #[error(transparent)]
    Keys(#[from] CustodyError),
    /// The key-encryption key of a new instance.
    #[error(transparent)]
    Kek(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Opens the instance's keys, or makes them in an empty store.
pub(super) async fn open(
    store: &Store,
    custody: &Custody,
    (clock, entropy): (&Clock, &Entropy),
    new: NewInstance,
) -> Result<Sealer, InstanceError> {
    let mut conn = store.read().await?;
    let (instance, terms) = (conn.instance().await?, conn.keyring().await?);
    drop(conn);
    let keyring = match (instance, new) {
        (Some(instance), _) => {
            custody.open(instance.id, terms.into_iter().map(sealed_term).collect())?
        }
        (None, NewInstance::Refuse) => return Err(InstanceError::Empty),
        (None, NewInstance::Make) => {
            let instance = Instance { id: entropy.bytes(), created_at: clock.now() };
            let (keyring, terms) = Keyring::create(&custody.current()?, instance.id, entropy);
            let terms: Vec<KeyTerm> = terms.into_iter().map(key_term).collect();
            store
                .write(move |tx| {
                    Box::pin(async move {
                        tx.create_instance(&instance).await?;
                        tx.replace_keyring(&terms).await
                    })
                })
                .await?;
            keyring
        }
    };
    Ok(Sealer::new(keyring, entropy.clone()))
}
