//! Asks a provider whether it knows an app and its secret.
//!
//! Never spends a user's token: the question is a refresh with a made-up one. Invariant: what is found is kept as the app's
//! health, so that one question mends or marks all its accounts.

use std::time::Duration;

use crate::domain::app::AppHealth;
use crate::domain::caller::Manage;
use crate::domain::event::{Event, What};
use crate::domain::ids::ResourceId;
use crate::providers::client::ClientVerdict;
use crate::service::{Error, Service, Verified};

/// How long a caller is told to wait when the provider did not say.
const RETRY_AFTER: Duration = Duration::from_secs(30);

impl Service {
    /// Verifies an app at its provider.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::ProviderUnavailable`] if nobody is there to ask. A refusal is an answer.
    pub async fn verify_app(&self, permit: &Manage, name: &ResourceId) -> Result<Verified, Error> {
        let app = self.app_named(permit.project(), name).await?;
        let provider = self.resolve(&app)?;
        let auth = self.client_auth(&app).await?;
        let host = provider.urls.token.host_str().unwrap_or_default().to_owned();
        let mut findings = vec![format!("token endpoint: {}", provider.urls.token)];
        let verdict =
            self.parts.providers.verify_client(&provider, &auth, &self.parts.entropy).await;
        let health = match verdict {
            ClientVerdict::Accepted => {
                findings.push(format!("{host} knows this client and takes its secret"));
                Some(AppHealth::Accepted)
            }
            ClientVerdict::Rejected(refused) => {
                findings.push(format!(
                    "{host} refuses this client: {} {}",
                    refused.code, refused.words
                ));
                findings.push("add a new secret with `brokerctl app add-secret`".to_owned());
                let since = self.parts.clock.now();
                Some(AppHealth::Rejected { since, code: refused.code })
            }
            ClientVerdict::Unclear(refused) if refused.class.may_pass_by_itself() => {
                let retry_after = refused.retry_after.unwrap_or(RETRY_AFTER);
                return Err(Error::ProviderUnavailable { retry_after });
            }
            ClientVerdict::Unclear(refused) => {
                findings.push(format!("it cannot be told: {} {}", refused.code, refused.words));
                None
            }
        };
        let accepted = health == Some(AppHealth::Accepted);
        if let Some(health) = health {
            let event = self.app_event(permit, What::AppHealth, name);
            let event = Event { granted: accepted, ..event };
            self.write(move |tx| {
                Box::pin(async move {
                    tx.set_app_health(app.id, &health).await?;
                    tx.append_audit(event).await.map(drop)
                })
            })
            .await?;
        }
        Ok(Verified { accepted, findings })
    }
}
