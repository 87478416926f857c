//! Forgets what nobody needs any more: ended consents, old mail sessions, old attempts; and closes sessions whose adapters died.
//!
//! Never touches the audit, a grant or a credential. Invariant: what is forgotten is older than [`KEEP`], so an operator can
//! still see last month's.

use std::time::Duration;

use crate::service::{Error, Service};

/// How long an adapter may be silent about a session until it counts as lost. Adapters tell of each once a minute, and end
/// them by themselves after an hour without us at most.
const SILENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// How long ended things are kept.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Service {
    /// Forgets what is older than 30 days. Says how many rows went.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn tidy(&self) -> Result<u64, Error> {
        let now = self.parts.clock.now();
        let (before, silent) = (now.before(KEEP), now.before(SILENCE));
        self.write(move |tx| {
            Box::pin(async move {
                tx.lose_mail_sessions(silent).await?;
                let consents = tx.forget_consents(before).await?;
                let sessions = tx.forget_mail_sessions(before).await?;
                Ok(consents + sessions + tx.forget_attempts(before).await?)
            })
        })
        .await
    }
}
