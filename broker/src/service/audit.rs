//! The audit, for those who may read it.

use crate::domain::caller::Manage;
use crate::domain::event::Record;
use crate::service::{Error, Service};
use crate::store::{Page, PageRequest};

impl Service {
    /// The records of a project, newest first; only those about `account` if it is not empty.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit_records(
        &self,
        permit: &Manage,
        account: &str,
        page: PageRequest,
    ) -> Result<Page<Record>, Error> {
        let account = (!account.is_empty()).then_some(account);
        Ok(self.read().await?.audit(permit.project(), account, &page).await?)
    }
}
