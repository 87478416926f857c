//! What a credential was used for: the mail sessions it opened.
//!
//! Never a token, never a command of a client. Next: `store/sessions.rs` keeps them, `tidy` forgets them after 30 days.

use crate::domain::caller::Manage;
use crate::domain::session::MailSession;
use crate::service::{Error, Service};
use crate::store::{Page, PageRequest};

impl Service {
    /// The sessions of a credential, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn credential_use(
        &self,
        permit: &Manage,
        key: &str,
        page: PageRequest,
    ) -> Result<Page<MailSession>, Error> {
        let view = self.credential(permit, key).await?;
        Ok(self.read().await?.sessions_of(view.credential.id, &page).await?)
    }
}
