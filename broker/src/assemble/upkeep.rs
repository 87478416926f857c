//! What is done by the clock, beside the schedule of refreshes: forgetting, giving back, looking through rights, and the keys.
//!
//! Never decides; the verbs do. Invariant: a round that fails is told and the next one comes. Next: `service/tidy.rs`,
//! `check_rights.rs`, `presence.rs`.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::service::Service;
use crate::tasks::Tasks;

const SECOND: Duration = Duration::from_secs(1);
/// How often it is looked whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Looks after the keys and tells the other brokers of this one.
pub(super) fn every_second(service: &Service, tasks: &Tasks) {
    let (service, stopping) = (service.clone(), tasks.clone());
    drop(tasks.spawn(async move {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.stopping() => return,
                _ = seconds.tick() => {}
            }
            service.keep_up().await;
        }
    }));
}

/// Tells providers of revoked grants, now and every minute.
pub(super) fn every_minute(service: &Service, tasks: &Tasks) {
    let (service, stopping) = (service.clone(), tasks.clone());
    drop(tasks.spawn(async move {
        let mut minutes = tokio::time::interval(MINUTE);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.stopping() => return,
                _ = minutes.tick() => {}
            }
            if let Err(error) = service.give_grants_back().await {
                tracing::warn!(%error, "revoked grants were not given back; the next try is in a minute");
            }
        }
    }));
}

/// Forgets old things and looks through the rights, now and every hour.
pub(super) fn hourly(service: &Service, tasks: &Tasks) {
    let (service, stopping) = (service.clone(), tasks.clone());
    drop(tasks.spawn(async move {
        let mut hours = tokio::time::interval(HOUR);
        loop {
            tokio::select! {
                () = stopping.stopping() => return,
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
            if let Err(error) = service.check_rights().await {
                tracing::warn!(%error, "the rights were not looked through; the next try is in an hour");
            }
        }
    }));
}

/// Looks every few seconds whether it is time to sign where the audit stands, and signs once more at the end.
pub(super) fn checkpoints(service: &Service, tasks: &Tasks) {
    let (service, stopping) = (service.clone(), tasks.clone());
    drop(tasks.spawn(async move {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let stops = tokio::select! {
                () = stopping.stopping() => true,
                _ = looks.tick() => false,
            };
            if let Err(error) = service.checkpoint_audit(stops).await {
                tracing::debug!(%error, "checkpoints of the audit wait for the store");
            }
            if stops {
                return;
            }
        }
    }));
}

/// Tells other brokers of refused logins every second, and writes down each minute's.
pub(super) fn refusals(service: &Service, tasks: &Tasks) {
    let (service, stopping) = (service.clone(), tasks.clone());
    drop(tasks.spawn(async move {
        let mut seconds = tokio::time::interval(SECOND);
        loop {
            let stops = tokio::select! {
                () = stopping.stopping() => true,
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
    }));
}
