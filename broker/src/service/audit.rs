//! The audit, for those who may read it.

use crate::domain::caller::Manage;
use crate::domain::chain::{Entry, Span};
use crate::domain::event::Record;
use crate::service::{Error, Service};
use crate::store::{AuditFilter, Page, PageRequest};

/// The chains of the audit, and who attests them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditChains {
    /// Each with its ends.
    pub spans: Vec<Span>,
    /// The instance.
    pub instance: [u8; 16],
    /// The public keys of checkpoints, by key term.
    pub keys: Vec<(u32, Vec<u8>)>,
    /// Whether this broker writes checkpoints.
    pub checkpointed: bool,
}

impl Service {
    /// The records of a project, newest first; only those that the filter wants.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit_records(
        &self,
        permit: &Manage,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<Record>, Error> {
        Ok(self.read().await?.audit(permit.project(), filter, &page).await?)
    }

    /// The chains.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit_chains(&self, _: &Manage) -> Result<AuditChains, Error> {
        let spans = self.read().await?.audit_spans().await?;
        let sealer = &self.parts.sealer;
        Ok(AuditChains {
            spans,
            instance: sealer.instance(),
            keys: sealer.checkpoint_keys().map_err(Error::ours)?,
            checkpointed: self.parts.audit.checkpoints.is_some(),
        })
    }

    /// At most 1000 records of a chain after `sequence`, as they are stored, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit_entries(
        &self,
        _: &Manage,
        chain: &str,
        sequence: i64,
    ) -> Result<Vec<Entry>, Error> {
        Ok(self.read().await?.audit_entries(chain, sequence).await?)
    }
}
