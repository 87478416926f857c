//! After a broker died: what it had in hand is stored, and what it may have spent is named.
//!
//! Never asks a provider. Invariant: an attempt that has no end and no living owner becomes a doubt that people can see, its
//! account is due when the provider's rotation allows, and nothing of it is forgotten. Next: `due` takes the accounts up.

use std::time::Duration;

use crate::clock::Time;
use crate::domain::event::{Event, What};
use crate::domain::grant::Attempt;
use crate::domain::refresh::schedule;
use crate::domain::refresh::settle::LOST;
use crate::service::{Error, Service, changes};
use crate::store::{Result as Stored, Tx};

/// How long an attempt of another broker is left alone at least: its lease, and a little.
const OF_OTHERS: Duration = Duration::from_secs(5);

impl Service {
    /// Takes up what a dead broker left: before any door opens, and from time to time for brokers beside this one. Says how
    /// many attempts are in doubt.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then it has to be done again before tokens are spent.
    pub async fn recover(&self) -> Result<usize, Error> {
        self.store_spilled().await?;
        self.recover_attempts().await
    }

    /// Names the attempts whose broker is no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recover_attempts(&self) -> Result<usize, Error> {
        let mut doubts = 0;
        let open = self.read().await?.open_attempts().await?;
        for attempt in open {
            if attempt.owner != self.parts.replica && self.is_dead(&attempt).await? {
                let service = self.clone();
                let named =
                    self.write(move |tx| Box::pin(async move { service.doubt(tx, attempt).await }));
                doubts += usize::from(named.await?);
            }
        }
        Ok(doubts)
    }

    /// Whether the broker of an attempt is surely gone: on a file nobody else can be there; of brokers that share a server, one
    /// of this one's own name, or one whose lease is over.
    async fn is_dead(&self, attempt: &Attempt) -> Result<bool, Error> {
        let own = self.parts.replica.split_once('/').map(|(name, _)| name);
        let theirs = attempt.owner.split_once('/').map(|(name, _)| name);
        if self.parts.store.engine() == "sqlite" || (own.is_some() && own == theirs) {
            return Ok(true);
        }
        let state = self.read().await?.refresh_state(attempt.account).await?.unwrap_or_default();
        let moved_on = state.lease.owner != attempt.owner || state.lease.left.is_zero();
        Ok(moved_on && attempt.started_at.after(self.parts.refresh.lease + OF_OTHERS) < self.now())
    }

    async fn doubt(&self, tx: &mut Tx, attempt: Attempt) -> Stored<bool> {
        let now = self.now();
        // Its broker may have come to an end with it meanwhile.
        if !tx.end_attempt(attempt.id, now, LOST, "interrupted").await? {
            return Ok(false);
        }
        tx.free_lease(attempt.account, &attempt.owner).await?;
        let Some(row) = tx.account(attempt.account).await? else { return Ok(false) };
        let account = changes::admit(&self.parts.sealer, row)?;
        let (ledger, _) = self.ledger(tx, &account).await?;
        let Some(rules) = self.rules_for(tx, &account).await? else { return Ok(false) };
        let due_at = schedule::due(&ledger, &rules, now).map(|(time, _): (Time, _)| time);
        tx.set_due(account.id, due_at).await?;
        let in_doubt = ledger.is_in_doubt(&rules, now);
        tracing::warn!(account = %account.name, in_doubt, since = attempt.started_at.millis(),
            "a refresh was interrupted: its token may have been spent");
        let event = self.of_broker(What::RefreshInterrupted, &account, rules.rotation.as_str());
        tx.append_audit(Event { granted: !in_doubt, ..event }).await?;
        Ok(in_doubt)
    }

    async fn rules_for(
        &self,
        tx: &mut Tx,
        account: &crate::domain::account::Account,
    ) -> Stored<Option<crate::domain::refresh::Rules>> {
        let Some(row) = tx.app(account.app).await? else { return Ok(None) };
        let app = changes::admit(&self.parts.sealer, row)?;
        Ok(self.resolve_for(&app, account).ok().map(|provider| self.rules_of(&provider)))
    }
}
