//! Writes down what refusals were gathered, once a minute and at the end.
//!
//! Invariant: what could not be written is kept for the next time. Next: `gathered.rs` counts.

use crate::service::{Error, Service};

impl Service {
    /// Writes down what was gathered, if a minute is over or `all` is wanted now.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then it is kept for the next time.
    pub async fn write_refusals(&self, all: bool) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let logins = self.refusals.take(now, all);
        let calls = self.refused_calls.take(now, all);
        if logins.is_empty() && calls.is_empty() {
            return Ok(());
        }
        let mut events = self.refusals.events(&logins, now);
        events.extend(self.refused_calls.events(&calls, now));
        let written = self.write(move |tx| {
            Box::pin(async move {
                for event in events {
                    tx.append_audit(event).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = written.await {
            self.refusals.put_back(logins);
            self.refused_calls.put_back(calls);
            return Err(error);
        }
        Ok(())
    }
}
