//! The beginning of a refresh, in one transaction: read the ledger, decide, and, if a token is to be spent, take the lease and
//! write the intent.
//!
//! Never asks the provider. Invariants: nothing is spent that was not written down before, which also proves that the store
//! can be written; what was read is what was decided on, because writers take turns. Next: `domain/refresh/admit.rs` decides.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::grant::{Attempt, Grant};
use crate::domain::ids::{AccountId, AttemptId};
use crate::domain::refresh::admit::{Admission, Spend, admit};
use crate::domain::refresh::{AppGate, Demand, Ledger, Spread, Urgency};
use crate::failpoint;
use crate::service::refresh::{Ground, Spending};
use crate::service::{Error, Service, changes};
use crate::store::{self, Conn, Result as Stored, Tx};

/// How long a probe of a refused app keeps others from probing too.
const PROBE: Duration = Duration::from_secs(20);

/// The longest wait that is ever written down for an account (it is looked at again after a day and a bit), and for an app (a
/// provider is believed an hour of silence).
const LONGEST_WAIT: Duration = Duration::from_secs(27 * 3600);
const LONGEST_GATE: Duration = Duration::from_secs(3600);

impl Service {
    /// Decides on a demand and, if a token is to be spent, writes the intent.
    pub(super) async fn begin(
        &self,
        ground: &Arc<Ground>,
        demand: &Demand,
    ) -> Result<(Admission, Option<Spending>), Error> {
        let (service, ground, demand) = (self.clone(), Arc::clone(ground), demand.clone());
        self.write(move |tx| Box::pin(async move { service.intend(tx, &ground, &demand).await }))
            .await
    }

    /// Whether somebody else is still at it, or done: a look that takes no turn at writing, since many may wait for one. `None`
    /// if it has to be decided for good.
    pub(super) async fn look(&self, ground: &Ground, demand: &Demand) -> Option<Admission> {
        let mut conn = self.read().await.ok()?;
        let row = conn.account(ground.account.id).await.ok()??;
        let account = changes::admit(&self.parts.sealer, row).ok()?;
        if account.disabled || account.app != ground.app.id {
            return None;
        }
        let (ledger, _) = self.ledger(&mut conn, &account, None).await.ok()?;
        let admission = admit(&ledger, demand, &ground.rules, self.now());
        matches!(admission, Admission::Held { .. } | Admission::Have { .. }).then_some(admission)
    }

    async fn intend(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        demand: &Demand,
    ) -> Stored<(Admission, Option<Spending>)> {
        let id = ground.account.id;
        let row = tx.account(id).await?.ok_or(store::Error::Stale { what: "accounts" })?;
        let account = changes::admit(&self.parts.sealer, row)?;
        let scheduled = demand.urgency == Urgency::Scheduled;
        if account.disabled || account.app != ground.app.id {
            if account.disabled && scheduled {
                tx.set_due(id, None).await?;
            }
            return Ok((Admission::Locked, None));
        }
        let (ledger, grants) = self.ledger(tx, &account, None).await?;
        let admission = admit(&ledger, demand, &ground.rules, self.now());
        let spending = match &admission {
            Admission::Spend(spend) => {
                Some(self.take_up(tx, ground, (spend, &ledger), &grants).await?)
            }
            Admission::Rest { due_at } => {
                tx.set_due(id, *due_at).await?;
                None
            }
            Admission::Locked if scheduled => {
                tx.set_due(id, None).await?;
                None
            }
            Admission::Dead => {
                let edit = |account: &mut Account| account.standing = Standing::NeedsConsent;
                changes::edit_account(tx, &self.parts.sealer, (id, None), self.now(), edit).await?;
                tx.set_due(id, None).await?;
                None
            }
            _ => None,
        };
        Ok((admission, spending))
    }

    async fn take_up(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        (spend, ledger): (&Spend, &Ledger),
        grants: &[Grant],
    ) -> Stored<Spending> {
        let (id, app, now) = (ground.account.id, ground.app.id, self.now());
        let grant = grants.iter().find(|grant| grant.generation == spend.generation);
        let grant = grant.cloned().ok_or(store::Error::Stale { what: "grants" })?;
        // Opened before anything is written: what cannot be opened is not spent either.
        let corrupt = || store::Error::Corrupt {
            table: "grants",
            column: "refresh_token",
            id: grant.id.to_string(),
        };
        let spent = self.refresh_token_of(&grant).map_err(|_| corrupt())?.ok_or_else(corrupt)?;
        let fence = tx.take_lease((id, app), &self.parts.replica, ground.rules.lease, now).await?;
        if let (true, AppGate::Rejected { refusals, .. }) = (spend.probe, ledger.app) {
            let until = now.after(PROBE);
            tx.set_app_gate(app, AppGate::Rejected { until, refusals }).await?;
        }
        let attempt = Attempt {
            id: AttemptId::new(now, &self.parts.entropy),
            account: id,
            audience: spend.audience.clone(),
            generation: spend.generation,
            owner: self.parts.replica.clone(),
            started_at: now,
            ended_at: None,
            outcome: String::new(),
            code: String::new(),
        };
        if !failpoint::skips("refresh.intent") {
            tx.begin_attempt(&attempt).await?;
        }
        Ok(Spending { spend: spend.clone(), attempt, fence, grant, spent: Some(spent) })
    }

    /// What is known of an account, for the domain to decide on, and its generations with their sealed tokens. The attempt
    /// that is being written about is no doubt.
    pub(super) async fn ledger(
        &self,
        conn: &mut Conn,
        account: &Account,
        except: Option<AttemptId>,
    ) -> Stored<(Ledger, Vec<Grant>)> {
        let id: AccountId = account.id;
        let now = self.now();
        let (state, gate) = conn.turn(id, account.app).await?;
        let state = state.unwrap_or_default();
        let grants = conn.grants(id).await?;
        let (tokens, doubts) = conn.holdings(id, except).await?;
        let foreign = state.lease.owner != self.parts.replica && !state.lease.left.is_zero();
        let ledger = Ledger {
            standing: account.standing,
            generations: grants.iter().map(Grant::generation).collect(),
            doubts,
            tokens,
            held: foreign.then_some(state.lease.left),
            not_before: believed(state.not_before, LONGEST_WAIT, now),
            failures: state.failures,
            app: believed_gate(gate.unwrap_or(AppGate::Open), now),
            spread: Spread::of(id.bytes()),
        };
        Ok((ledger, grants))
    }
}

/// A wait that is longer than any we write down was written under a clock that was wrong: it is over.
fn believed(until: Time, longest: Duration, now: Time) -> Time {
    if now.until(until) <= longest { until } else { now }
}

/// The same for an app.
pub(super) fn believed_gate(gate: AppGate, now: Time) -> AppGate {
    match gate {
        AppGate::Open => AppGate::Open,
        AppGate::Throttled { until } => {
            AppGate::Throttled { until: believed(until, LONGEST_GATE, now) }
        }
        AppGate::Rejected { until, refusals } => {
            AppGate::Rejected { until: believed(until, LONGEST_GATE, now), refusals }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_written_under_a_wrong_clock_is_over_and_any_other_is_kept() {
        let now = Time::from_millis(1_000_000);
        for longest in [LONGEST_GATE, LONGEST_WAIT] {
            let kept = now.after(longest);
            assert_eq!(believed(kept, longest, now), kept);
            assert_eq!(believed(kept.after(Duration::from_secs(1)), longest, now), now);
        }
        let until = now.after(Duration::from_secs(10 * 365 * 24 * 3600));
        let gates = [AppGate::Throttled { until }, AppGate::Rejected { until, refusals: 3 }];
        let over =
            [AppGate::Throttled { until: now }, AppGate::Rejected { until: now, refusals: 3 }];
        assert_eq!(gates.map(|gate| believed_gate(gate, now)), over);
    }
}
