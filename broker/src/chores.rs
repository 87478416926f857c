//! What has to be done now and then beside the schedule of refreshes.
//!
//! Never decides: it calls a verb when its time has come. Invariant: a chore that fails is tried again at its next time, and
//! each ends when the tasks stop. Next: `service/tidy`, `service/refused_login`.

use std::time::Duration;

use crate::service::Service;
use crate::tasks::Tasks;

const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(2);

/// Forgets old things, now and every hour.
pub async fn tidy_hourly(service: Service, tasks: Tasks) {
    let mut hours = tokio::time::interval(HOUR);
    loop {
        tokio::select! {
            () = tasks.stopping() => return,
            _ = hours.tick() => {}
        }
        if let Err(error) = service.tidy().await {
            tracing::warn!(%error, "old rows were not forgotten; the next try is in an hour");
        }
        match service.prune_audit().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "audit records were removed that are old enough"),
            Err(error) => {
                tracing::warn!(%error, "old audit records were not removed; the next try is in an hour");
            }
        }
    }
}

/// Looks every few seconds whether it is time to sign where the audit stands, and signs once more at the end.
pub async fn attest_audit(service: Service, tasks: Tasks) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let stops = tokio::select! {
            () = tasks.stopping() => true,
            _ = looks.tick() => false,
        };
        if let Err(error) = service.checkpoint_audit(stops).await {
            tracing::debug!(%error, "checkpoints of the audit wait for the store");
        }
        if stops {
            return;
        }
    }
}

/// Tells other brokers of refused logins every second, and writes down each minute's.
pub async fn keep_count_of_refusals(service: Service, tasks: Tasks) {
    let mut seconds = tokio::time::interval(SECOND);
    loop {
        let stops = tokio::select! {
            () = tasks.stopping() => true,
            _ = seconds.tick() => false,
        };
        for done in [service.share_refusals().await, service.write_refusals(stops).await] {
            if let Err(error) = done {
                tracing::debug!(%error, "counts of refused logins wait for the store");
            }
        }
        if stops {
            return;
        }
    }
}
