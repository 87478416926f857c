//! What came of a refresh that was refused: the refusal judged and written down.
//!
//! Never settles an account for an outage or a broken app, and never brings back one that was given back. Invariant: attempt,
//! refusal, lease, schedule, app and audit record change in one transaction. Next: `refresh_landing` tells the caller;
//! `domain/refresh/settle.rs` decides.

use std::sync::Arc;

use crate::domain::account::Standing;
use crate::domain::app::AppHealth;
use crate::domain::refresh::AppGate;
use crate::domain::refresh::settle::{Settlement, settle};
use crate::domain::refusal::Refused;
use crate::failpoint;
use crate::service::refresh::{Ground, Spending};
use crate::service::{Error, Service, changes};
use crate::store::{self, Result as Stored, TurnEnd, Tx};

impl Service {
    /// Writes down why there is no new token, and what that means for account and app.
    pub(super) async fn note(
        &self,
        ground: &Arc<Ground>,
        spending: &Spending,
        refused: &Refused,
    ) -> Result<Option<Settlement>, Error> {
        tracing::info!(
            account = %ground.account.name, app = %ground.app.name, class = refused.class.as_str(),
            code = %refused.code, "a refresh was refused"
        );
        let (service, of_job) = (self.clone(), Arc::clone(ground));
        let (spent, refused) = (spending.clone(), refused.clone());
        self.write(move |tx| {
            Box::pin(async move { service.write_refusal(tx, &of_job, &spent, refused).await })
        })
        .await
    }

    async fn write_refusal(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        spending: &Spending,
        refused: Refused,
    ) -> Stored<Option<Settlement>> {
        let (id, now) = (ground.account.id, self.now());
        let row = tx.account(id).await?.ok_or(store::Error::Stale { what: "accounts" })?;
        let account = changes::admit(&self.parts.sealer, row)?;
        let attempt = spending.attempt.id;
        // Written down already, though this broker was told that it had failed; or somebody took the account over.
        if tx.is_open_attempt(attempt).await? != Some(true) && !failpoint::skips("refresh.intent") {
            return Ok(None);
        }
        let (ledger, _) = self.ledger(tx, &account, Some(attempt)).await?;
        let mut dice = self.parts.entropy.clone();
        let when = (&ground.rules, now);
        let settlement = settle(&ledger, &spending.spend, &refused, when, &mut dice);
        tx.end_attempt(attempt, now, settlement.outcome, &refused.code).await?;
        if account.standing == Standing::Revoked {
            return Ok(Some(settlement));
        }
        if let Some(refusals) = settlement.refusals {
            tx.refuse_grant(id, spending.spend.generation, refusals).await?;
        }
        let code = match &refused.suberror {
            Some(suberror) => format!("{}/{suberror}", refused.code),
            None => refused.code.clone(),
        };
        let end = TurnEnd {
            failures: settlement.failures,
            not_before: settlement.not_before,
            due_at: settlement.due_at,
            class: refused.class.as_str().to_owned(),
            code: code.clone(),
            refreshed_at: None,
        };
        tx.end_turn(id, (&self.parts.replica, spending.fence), &end).await?;
        if let Some(standing) = settlement.standing.filter(|standing| *standing != account.standing)
        {
            self.restand(tx, &account, standing, (&code, &refused.words)).await?;
        }
        if let Some(gate) = settlement.app {
            self.shut_app(tx, ground, gate, &refused.code).await?;
        }
        let reason = self.refusal(ground, &refused, &settlement, now).reason_number();
        tx.append_audit(self.refresh_event(ground, spending, reason)).await?;
        tx.ring(id);
        Ok(Some(settlement))
    }

    async fn shut_app(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        gate: AppGate,
        code: &str,
    ) -> Stored<()> {
        let app = &ground.app;
        tx.set_app_gate(app.id, gate).await?;
        let first = matches!(gate, AppGate::Rejected { refusals: 1, .. });
        if first {
            // The one alert: whoever watches the log, the figures or the audit sees it once.
            tracing::error!(app = %app.name, code, "the provider refuses this app; its accounts wait");
            let health = AppHealth::Rejected { since: self.now(), code: code.to_owned() };
            tx.set_app_health(app.id, &health).await?;
            tx.append_audit(self.health_event(app, false)).await?;
        }
        Ok(())
    }
}
