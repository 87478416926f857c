//! Signs where the audit's chains stand and has the second place keep it.
//!
//! Never signs for a chain that went back: that is a hand in the database, and is said. Invariant: every chain is attested, also
//! those of other brokers and of brokers that are gone. Next: `witness.rs` keeps the lines.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Time;
use crate::domain::chain::Point;
use crate::domain::checkpoint::{Checkpoint, Signed};
use crate::service::{Error, Service};
use crate::store::ChainEnd;
use crate::telemetry::metrics;
use crate::witness::Witness;

/// How long the audit is kept, and where it is attested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// How long records are kept; `None` for ever.
    pub keep: Option<Duration>,
    /// The second place; `None` for none.
    pub checkpoints: Option<CheckpointSettings>,
}

/// When a checkpoint is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// The file that checkpoints are appended to.
    pub file: PathBuf,
    /// The longest time between two of a chain that grows.
    pub every: Duration,
    /// The most records between two.
    pub records: i64,
}

/// What this process has attested of each chain, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Attested(Arc<Mutex<HashMap<String, (Point, Time)>>>);

impl Service {
    /// Attests the chains for which it is time, or all that have grown. Says how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not say where they stand. If the second place cannot be written that is
    /// logged and counted, and tried again.
    pub async fn checkpoint_audit(&self, all: bool) -> Result<usize, Error> {
        let Some(settings) = &self.parts.audit.checkpoints else { return Ok(0) };
        let mut attested = self.attested.0.lock().await;
        let ends = self.read().await?.audit_chains().await?;
        let now = self.parts.clock.now();
        let mut due = Vec::new();
        for ChainEnd { chain, sequence, hash } in ends {
            let point = Point { sequence, hash };
            if is_due(&chain, &point, attested.get(&chain), (settings, all, now)) {
                due.push(Checkpoint { chain, point, at: now });
            }
        }
        if due.is_empty() {
            return Ok(0);
        }
        let signed: Result<Vec<Signed>, _> =
            due.iter().map(|checkpoint| self.parts.sealer.sign(checkpoint.clone())).collect();
        let signed = signed.map_err(Error::ours)?;
        let witness = Witness::new(settings.file.clone());
        if let Err(error) = witness.attest(&signed).await {
            metrics::checkpoints("failed", signed.len());
            tracing::error!(file = %witness.file().display(), %error, "checkpoints of the audit were not written; the next try is in seconds");
            return Ok(0);
        }
        metrics::checkpoints("written", signed.len());
        let count = due.len();
        attested.extend(due.into_iter().map(|it| (it.chain, (it.point, now))));
        Ok(count)
    }
}

fn is_due(
    chain: &str,
    point: &Point,
    before: Option<&(Point, Time)>,
    (settings, all, now): (&CheckpointSettings, bool, Time),
) -> bool {
    let Some((last, at)) = before else { return point.sequence > 0 };
    if point.sequence < last.sequence || (point.sequence == last.sequence && point != last) {
        let (was, is) = (last.sequence, point.sequence);
        tracing::error!(
            chain,
            was,
            is,
            "an audit chain went back or was rewritten: run `brokerctl audit verify`"
        );
        return false;
    }
    let grown = point.sequence - last.sequence;
    grown > 0 && (all || grown >= settings.records || at.until(now) >= settings.every)
}
