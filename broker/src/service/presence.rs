//! The brokers that share the store: this one says that it lives and what it knows of the keys, and asks about the others.
//!
//! Never trusts its own clock about others. Invariants: a broker says what it knows before its doors open and reads the keyring
//! after, so whoever activates a term either sees it here or is seen by it; it takes its row away when it stops, unless
//! something on its disk still needs a key. Next: `create_key_term` waits for all, `status` shows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::service::{Error, Service, places};
use crate::store::Replica;

/// Whoever was heard of within this time counts as living.
pub const LIVE: Duration = Duration::from_secs(15);

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(5);

/// Whoever has sealed under a term for so long has written all that it sealed under another before: no write takes longer.
pub(super) const SETTLED: Duration = Duration::from_secs(12);

/// Whoever was silent for so long is no more.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two looks at the others.
const LOOK: Duration = Duration::from_millis(200);

/// What was said last, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Arc<Mutex<Option<(Instant, Replica)>>>);

impl Service {
    /// Joins the others, before the doors open.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn join_replicas(&self) -> Result<(), Error> {
        let name = self.parts.replica.clone();
        if let Some((prefix, _)) = name.split_once('/') {
            let prefix = format!("{prefix}/");
            self.write(move |tx| Box::pin(async move { tx.follow_replica(&prefix, &name).await }))
                .await?;
        }
        self.say_alive().await?;
        self.reload_keyring().await
    }

    /// Leaves the others, after everything has ended.
    pub async fn leave_replicas(&self) {
        // Without an answer from the disk or the store the row stays, and says that somebody is missing.
        if self.oldest_spilled().await.is_ok_and(|oldest| oldest == 0) {
            let name = self.parts.replica.clone();
            drop(
                self.write(move |tx| Box::pin(async move { tx.forget_replica(&name).await })).await,
            );
        }
    }

    /// What is to be done every second about keys: what others changed, what was learned, who is there.
    pub async fn keep_up(&self) {
        // Whatever one of them meets, the others go on.
        for (what, done) in [
            ("the keyring could not be read", self.reload_keyring().await),
            ("no sign of life was given", self.beat().await),
            ("used secrets were not hashed anew", self.store_outgrown().await),
            ("a re-seal was not taken up", self.take_up_reseal().await),
        ] {
            if let Err(error) = done {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "{what}");
            }
        }
    }

    /// Those of the living that do not fit, asked again and again for so long as one does not.
    pub(super) async fn unfit_replicas(
        &self,
        patience: Duration,
        fits: impl Fn(&Replica) -> bool,
    ) -> Result<Vec<String>, Error> {
        let end = Instant::now() + patience;
        loop {
            let all = self.read().await?.replicas().await?;
            let unfit = names(all.iter().filter(|it| it.silent < LIVE && !fits(it)));
            if unfit.is_empty() || Instant::now() >= end {
                return Ok(unfit);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says that this process lives, and what it knows.
    pub(super) async fn say_alive(&self) -> Result<(), Error> {
        let said = Replica {
            // What cannot be read may need any.
            needed_term: self.reseal_spilled().await.unwrap_or(1),
            kek_ids: self.parts.custody.ids(),
            ..self.itself()
        };
        let row = said.clone();
        self.write(move |tx| {
            Box::pin(async move {
                tx.see_replica(&row).await?;
                tx.forget_replicas(FORGOTTEN).await.map(drop)
            })
        })
        .await?;
        *self.said() = Some((Instant::now(), said));
        Ok(())
    }

    /// The same now and then, and at once after a change.
    async fn beat(&self) -> Result<(), Error> {
        let now = self.itself();
        let fresh = |(at, said): &(Instant, Replica)| {
            at.elapsed() < BEAT
                && (said.active_term, said.known_term, said.draining)
                    == (now.active_term, now.known_term, now.draining)
        };
        let fresh = self.said().as_ref().is_some_and(fresh);
        if fresh { Ok(()) } else { self.say_alive().await }
    }

    fn said(&self) -> MutexGuard<'_, Option<(Instant, Replica)>> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn itself(&self) -> Replica {
        let keyring = self.parts.sealer.keyring();
        let started_at = self.parts.started_at;
        Replica {
            name: self.parts.replica.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            seen_at: started_at,
            silent: Duration::ZERO,
            settled: Duration::ZERO,
            draining: self.is_draining(),
            active_term: keyring.active_term(),
            known_term: keyring.newest_term(),
            needed_term: 0,
            kek_ids: Vec::new(),
        }
    }

    /// Seals spill files under the active term; the oldest that is still needed, 0 for none.
    async fn reseal_spilled(&self) -> Result<u32, Error> {
        for (attempt, sealed) in self.parts.spill.all().await.map_err(Error::ours)? {
            if let Ok(Some(new)) = self.parts.sealer.reseal(&places::spill(attempt), &sealed) {
                self.parts.spill.put(attempt, &new).await.map_err(Error::ours)?;
            }
        }
        self.oldest_spilled().await
    }

    async fn oldest_spilled(&self) -> Result<u32, Error> {
        let active = self.parts.sealer.active_term();
        let all = self.parts.spill.all().await.map_err(Error::ours)?;
        let terms = all.iter().filter_map(|(_, sealed)| self.parts.sealer.term_of(sealed).ok());
        Ok(terms.filter(|term| *term < active).min().unwrap_or(0))
    }
}

/// Names for people.
pub(super) fn names<'r>(replicas: impl Iterator<Item = &'r Replica>) -> Vec<String> {
    replicas.map(|it| it.name.clone()).collect()
}
