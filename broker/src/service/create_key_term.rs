//! Adds a key term and puts it in use, with brokers that know it all.
//!
//! Never lets a value be sealed under a term that another broker cannot open. Invariant: the term is pending until every
//! living broker has said that it knows it; whoever dies in between leaves it pending, and the next call goes on. Next:
//! `reseal` moves what is under older terms.

use std::time::Duration;

use crate::domain::event::What;
use crate::domain::keeper::KeepKeys;
use crate::seal::KeyringError;
use crate::service::keyring::unchecked;
use crate::service::presence::{LIVE, names};
use crate::service::{Error, Service};

/// How long the others may take: they look every second.
const PATIENCE: Duration = Duration::from_secs(12);

impl Service {
    /// Adds a term and makes it the active one.
    ///
    /// # Errors
    /// [`Error::InUse`] if a broker does not learn of it in time, [`Error::EtagMismatch`] if the keyring changed meanwhile.
    pub async fn create_key_term(&self, permit: &KeepKeys) -> Result<(), Error> {
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.rotate_term(&permit).await }).await
    }

    async fn rotate_term(&self, permit: &KeepKeys) -> Result<(), Error> {
        let (mut keyring, mut rows) = self.stored_keyring().await?;
        let kek = self.kek_of(&rows)?;
        if keyring.pending_term().is_none() {
            let with = keyring.with_term(&self.parts.entropy).map_err(ours)?;
            let subject = with.newest_term().to_string();
            let event = self.key_event(permit.manage(), What::KeyTermCreated, &subject);
            self.change_keyring((with, &kek), rows, event, unchecked).await?;
            (keyring, rows) = self.stored_keyring().await?;
        }
        let term = keyring.newest_term();
        self.say_alive().await?;
        let behind = self.unfit_replicas(PATIENCE, |it| it.known_term >= term).await?;
        if !behind.is_empty() {
            return Err(Error::InUse(not_known(term, &behind)));
        }
        let active = keyring.activated().map_err(ours)?;
        let event = self.key_event(permit.manage(), What::KeyTermActivated, &term.to_string());
        self.change_keyring((active, &kek), rows, event, move |tx| {
            Box::pin(async move {
                // Somebody may have joined meanwhile.
                let all = tx.replicas().await?;
                let behind =
                    names(all.iter().filter(|it| it.silent < LIVE && it.known_term < term));
                Ok((!behind.is_empty()).then(|| not_known(term, &behind)))
            })
        })
        .await?;
        tracing::warn!(term, "new values are sealed under a new key term");
        self.say_alive().await
    }
}

fn not_known(term: u32, behind: &[String]) -> String {
    format!(
        "key term {term} is pending: {} did not learn of it in time. Look at its log, then try again",
        behind.join(", ")
    )
}

fn ours(error: KeyringError) -> Error {
    Error::ours(error)
}
