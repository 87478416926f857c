//! Removes audit records that are older than they have to be kept; the chains stay provable from where they begin then.
//!
//! Never by default, and never from a chain that does not verify. Invariant: before and after, where the chains stand is signed
//! in the second place, if there is one. Next: `store/chains.rs` removes.

use crate::service::{Error, Service};
use crate::store::{Pruned, STRIDE};

impl Service {
    /// Removes what is older than it has to be kept. Says how many records went.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn prune_audit(&self) -> Result<usize, Error> {
        let Some(keep) = self.parts.audit.keep else { return Ok(0) };
        let before = self.parts.clock.now().before(keep);
        let spans = self.read().await?.audit_spans().await?;
        self.checkpoint_audit(true).await?;
        let mut removed = 0;
        for span in spans {
            loop {
                let (chain, now) = (span.chain.clone(), self.parts.clock.now());
                let job = self.write(move |tx| {
                    Box::pin(async move { tx.prune_audit(&chain, before, now).await })
                });
                match job.await? {
                    Pruned::Removed(count) => {
                        removed += count;
                        if count < STRIDE {
                            break;
                        }
                    }
                    Pruned::Nothing => break,
                    Pruned::Broken(fault) => {
                        let remedy = "run `brokerctl audit verify`";
                        tracing::error!(
                            chain = span.chain,
                            sequence = fault.sequence,
                            why = fault.detail,
                            remedy,
                            "the audit chain is broken: nothing is removed from it"
                        );
                        break;
                    }
                }
            }
        }
        if removed > 0 {
            self.checkpoint_audit(true).await?;
        }
        Ok(removed)
    }
}
