//! How the broker stands, in one screen.

use std::time::Duration;

use crate::domain::account::Standing;
use crate::domain::caller::Manage;
use crate::seal::RefusedRow;
use crate::service::{EndpointState, Error, Service, Serving, TermView, key_status};
use crate::store::{Counts, LaneState, RELAXED_LAG, Replica};

/// How the broker stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// The newest migration that is applied.
    pub schema_version: i64,
    /// What there is.
    pub counts: Counts,
    /// The key term new values are sealed under.
    pub key_term: u32,
    /// Where the consent pages are.
    pub public_url: String,
    /// Accounts that are due and not refreshed, over all projects.
    pub due: i64,
    /// Token endpoints that this broker has asked.
    pub endpoints: Vec<EndpointState>,
    /// This process among those that share the store.
    pub replica: String,
    /// How this process's decisions go.
    pub lane: LaneState,
    /// How long a revocation may take to act, if answers may leave before their record is durable.
    pub relaxed_lag: Option<Duration>,
    /// All of them.
    pub replicas: Vec<Replica>,
    /// Rises with every change of rights.
    pub rights_epoch: i64,
    /// The terms of the keyring, without what is under them.
    pub key_terms: Vec<TermView>,
    /// Whether and how this process serves.
    pub serving: Serving,
    /// Rows that were changed behind the broker's back, as far as this process has met them.
    pub refused: Vec<RefusedRow>,
}

impl Service {
    /// How the broker stands, as far as the permit's project goes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn status(&self, permit: &Manage) -> Result<Status, Error> {
        let now = self.parts.clock.now();
        let mut conn = self.read().await?;
        let counts = conn.counts(permit.project(), now).await?;
        let replicas = conn.replicas().await?;
        let rights_epoch = conn.rights_epoch().await?;
        drop(conn);
        let due = self.due_depth().await?;
        let schema_version = self.parts.store.schema_version();
        Ok(Status {
            engine: self.parts.store.engine(),
            schema_version,
            counts,
            key_term: self.parts.sealer.active_term(),
            public_url: self.parts.public_url.to_string(),
            due,
            endpoints: self.gates.endpoints(),
            replica: self.parts.replica.clone(),
            lane: self.parts.store.lane_state(),
            relaxed_lag: self.parts.decisions.relaxed.then_some(RELAXED_LAG),
            replicas,
            rights_epoch,
            key_terms: key_status::terms(&self.parts.sealer.keyring()),
            serving: self.serving(),
            refused: self.parts.sealer.refused(),
        })
    }

    /// How many accounts are in which state, over all projects.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn account_counts(&self) -> Result<Vec<(&'static str, i64)>, Error> {
        let counted = self.read().await?.account_counts().await?;
        let count =
            |state: &str| counted.iter().find(|(name, _)| name == state).map_or(0, |it| it.1);
        let standings = Standing::ALL.iter().map(|standing| standing.as_str());
        Ok(standings.chain(["disabled"]).map(|state| (state, count(state))).collect())
    }

    /// Whether the store answers: what readiness means.
    pub async fn is_ready(&self) -> bool {
        match self.read().await {
            Ok(mut conn) => conn.rights_epoch().await.is_ok(),
            Err(_) => false,
        }
    }
}
