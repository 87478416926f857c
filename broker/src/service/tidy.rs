//! Forgets what nobody needs any more: ended consents, old mail sessions, old attempts.
//!
//! Never touches the audit, a grant or a credential. Invariant: what is forgotten is older than [`KEEP`], so an operator can
//! still see last month's.

use std::time::Duration;

use crate::service::{Error, Service};

/// How long ended things are kept.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Service {
    /// Forgets what is older than 30 days. Says how many rows went.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn tidy(&self) -> Result<u64, Error> {
        let before = self.parts.clock.now().before(KEEP);
        self.write(move |tx| {
            Box::pin(async move {
                let consents = tx.forget_consents(before).await?;
                let sessions = tx.forget_mail_sessions(before).await?;
                Ok(consents + sessions + tx.forget_attempts(before).await?)
            })
        })
        .await
    }
}
