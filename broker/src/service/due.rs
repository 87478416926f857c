//! Who is due, and starting their refreshes: the schedule's hands.
//!
//! Never waits for a refresh to end, and never starts more at once than there are slots. Invariants: an app that is refused,
//! throttled or switched off costs no look at its accounts; whoever is longest due comes first; brokers that share a
//! database start at different places and leave to each other what is leased. Next: `scheduler.rs` calls this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::ids::{AccountId, AppId};
use crate::domain::refresh::{AppGate, Demand, Dice, Urgency};
use crate::service::flights::Boarding;
use crate::service::refresh_begin::believed_gate;
use crate::service::{Error, Service};

/// Accounts of one app that are looked up at once.
const PAGE: i64 = 128;

/// Scheduled refreshes under way at once in this process.
pub const SLOTS: usize = 64;

/// How many of them one app may have, so that a slow provider leaves room to others.
const SLOTS_OF_APP: usize = 48;

/// How long an account that fails for reasons of ours is left alone.
const BROKEN: Duration = Duration::from_secs(15 * 60);

/// No grant that anybody knows of may rest for longer.
const FAR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What one look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Refreshes started.
    pub started: usize,
    /// Whether there may be more to start at once.
    pub more: bool,
}

impl Service {
    /// Starts what is due, as far as slots and gates allow.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start_due(&self, slots: &Arc<Semaphore>) -> Result<Look, Error> {
        let mut look = Look::default();
        if self.is_draining() {
            return Ok(look);
        }
        let gates = self.read().await?.app_gates().await?;
        for (app, gate) in gates {
            let shut = match believed_gate(gate, self.now()) {
                AppGate::Open => false,
                AppGate::Throttled { until } | AppGate::Rejected { until, .. } => {
                    until > self.now()
                }
            };
            if shut || self.parts.tasks.is_stopping() {
                continue;
            }
            let probe = matches!(gate, AppGate::Rejected { .. });
            self.start_due_of(app, probe, slots, &mut look).await?;
        }
        Ok(look)
    }

    async fn start_due_of(
        &self,
        app: AppId,
        probe: bool,
        slots: &Arc<Semaphore>,
        look: &mut Look,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut due = self.read().await?.due(app, now, PAGE).await?;
        let free = slots.available_permits().min(SLOTS_OF_APP);
        let wanted = if probe { due.len().min(1) } else { due.len().min(free) };
        let wanted = self.gates.worth(app, wanted, now);
        if due.len() > 1 && self.parts.store.engine() == "postgres" {
            // Where brokers share the work, each begins somewhere else among the longest due.
            let start =
                usize::from(self.parts.entropy.clone().roll()) % due.len().min(SLOTS_OF_APP);
            due.rotate_left(start);
        }
        let mut started = 0;
        for (account, _) in due {
            if started == wanted {
                look.more |= !probe && wanted > 0;
                break;
            }
            started += usize::from(self.launch(account, slots));
        }
        look.started += started;
        Ok(())
    }

    /// Starts the scheduled refresh of an account, unless one is under way.
    fn launch(&self, account: AccountId, slots: &Arc<Semaphore>) -> bool {
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { return false };
        let Boarding::Pilot(flight) = self.flights.board(account) else { return false };
        let service = self.clone();
        drop(self.parts.tasks.spawn(async move {
            let demand = Demand { audience: None, newer_than: None, urgency: Urgency::Scheduled };
            let (_, outcome) = service.fly(flight, account, demand).await;
            if let Err(error) = outcome {
                tracing::debug!(%account, %error, "a scheduled refresh brought no token");
                if matches!(error, Error::Ours(_)) {
                    service.put_off(account).await;
                }
            }
            drop(slot);
        }));
        true
    }

    /// An account that only an operator can mend is not looked at all the time.
    async fn put_off(&self, account: AccountId) {
        let due_at = Some(self.now().after(BROKEN));
        let put = self.write(move |tx| Box::pin(async move { tx.set_due(account, due_at).await }));
        drop(put.await);
    }

    /// Takes back into the schedule what a clock that was wrong has put off for years.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn set_schedule_right(&self) -> Result<(), Error> {
        let gates = self.read().await?.app_gates().await?;
        let span = (self.now(), self.now().after(FAR));
        self.write(move |tx| {
            Box::pin(async move {
                for (app, _) in gates {
                    tx.set_right(app, span).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// How many accounts are due, over all apps; each app is counted up to 10,000.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn due_depth(&self) -> Result<i64, Error> {
        let mut conn = self.read().await?;
        let mut depth = 0;
        for (app, _) in conn.app_gates().await? {
            depth += conn.due_count(app, self.now()).await?;
        }
        Ok(depth)
    }
}
