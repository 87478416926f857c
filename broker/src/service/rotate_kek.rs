//! Seals the keyring with the next key-encryption key.
//!
//! Never sees a key that came over the wire: the next one is where the configuration says. Invariants: only rows of the keyring
//! change, in one transaction; no broker is left that could not read them after its next start. Next: `seal/custody.rs`.

use std::time::Duration;

use crate::domain::event::What;
use crate::domain::keeper::KeepKeys;
use crate::service::keyring::unchecked;
use crate::service::{Error, Service};

/// How long the others may take to say that they can read the next key: they look every five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

impl Service {
    /// Rewraps the keyring with the next key.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no next key, or it is in use already; [`Error::InUse`] while a broker cannot read it.
    pub async fn rotate_kek(&self, permit: &KeepKeys) -> Result<(), Error> {
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.rewrap_keyring(&permit).await }).await
    }

    async fn rewrap_keyring(&self, permit: &KeepKeys) -> Result<(), Error> {
        let next = self.parts.custody.next();
        let next = next.map_err(|error| Error::invalid("keys.next_kek", error.to_string()))?;
        let (keyring, rows) = self.stored_keyring().await?;
        if rows.iter().all(|row| row.kek_id == next.id()) {
            let remedy = format!(
                "the keyring is sealed with key {} already: put a new one there first (`token-broker new-key`)",
                next.id()
            );
            return Err(Error::invalid("keys.next_kek", remedy));
        }
        let id = next.id().to_owned();
        self.say_alive().await?;
        let without = self.unfit_replicas(PATIENCE, |it| it.kek_ids.contains(&id)).await?;
        if !without.is_empty() {
            return Err(Error::InUse(format!(
                "{} cannot read key {id}: put it where its `[keys] next_kek` says, then try again",
                without.join(", ")
            )));
        }
        let event = self.key_event(permit.manage(), What::KekRotated, &id);
        self.change_keyring(((*keyring).clone(), &next), rows, event, unchecked).await?;
        tracing::warn!(kek = id, "the keyring is sealed with the next key-encryption key");
        Ok(())
    }
}
