//! The schedule's clock: starts what is due, takes up what a dead broker left, and keeps the figures about both.
//!
//! Never decides who is due and never refreshes itself. Invariant: however much is due, only so many refreshes are under way at
//! once, and a store that is away is asked again with a pause. Next: `service/due.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::service::{Error, SLOTS, Service};
use crate::tasks::Tasks;
use crate::telemetry::metrics;

/// Between two looks when nothing was left to start.
const LOOK: Duration = Duration::from_millis(250);

/// The pause after the store was away.
const AWAY: Duration = Duration::from_secs(1);

/// Between two looks at what other brokers left, and at how much is due.
const SWEEP: Duration = Duration::from_secs(5);

/// Between two counts of all accounts.
const COUNT: Duration = Duration::from_secs(60);

/// Runs until `tasks` stop.
pub async fn run(service: Service, tasks: Tasks) {
    let slots = Arc::new(Semaphore::new(SLOTS));
    let mut swept = Instant::now();
    let mut counted = None;
    while !tasks.is_stopping() {
        let pause = match service.start_due(&slots).await {
            Ok(look) if look.more => Duration::ZERO,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "the schedule waits for the store");
                AWAY
            }
        };
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            if let Err(error) = sweep(&service, &mut counted).await {
                tracing::debug!(%error, "the sweep waits for the store");
            }
        }
        tokio::select! {
            () = tasks.stopping() => {}
            () = rest(pause, &slots) => {}
        }
    }
}

/// Sleeps; with nothing to sleep, waits until a slot is free.
async fn rest(pause: Duration, slots: &Semaphore) {
    if pause.is_zero() {
        drop(slots.acquire().await);
    } else {
        tokio::time::sleep(pause).await;
    }
}

async fn sweep(service: &Service, counted: &mut Option<Instant>) -> Result<(), Error> {
    let doubts = service.recover_attempts().await?;
    metrics::interrupted(u64::try_from(doubts).unwrap_or(u64::MAX));
    metrics::due(u32::try_from(service.due_depth().await?).unwrap_or(u32::MAX));
    if counted.is_some_and(|at| at.elapsed() < COUNT) {
        return Ok(());
    }
    *counted = Some(Instant::now());
    service.set_schedule_right().await?;
    for (state, count) in service.account_counts().await? {
        metrics::accounts(state, u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(())
}
