//! Has a provider asked again at once that was left alone.
//!
//! Never makes it answer: if it still fails, the failures count from the start. Invariant: the record is written with the change,
//! or before it where the change is in memory only. Next: `gates` has the breakers, `store/refreshes.rs` the pauses.

use crate::domain::caller::Manage;
use crate::domain::event::What;
use crate::domain::ids::ResourceId;
use crate::domain::refresh::AppGate;
use crate::service::{Error, Service};

/// What was reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reset {
    /// The token endpoint whose failures were forgotten.
    pub endpoint: Option<String>,
    /// Whether the pause of an app was lifted.
    pub pause_lifted: bool,
}

impl Service {
    /// Lifts the pause of an app, for all brokers, and forgets the failures of its token endpoint here.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn reset_app(&self, permit: &Manage, name: &ResourceId) -> Result<Reset, Error> {
        let app = self.app_named(permit.project(), name).await?;
        let event = self.app_event(permit, What::BreakerReset, &app.name);
        let id = app.id;
        let pause_lifted = self
            .write(move |tx| {
                Box::pin(async move {
                    let gate = tx.app_gate(id).await?;
                    let paused = gate.is_some_and(|gate| gate != AppGate::Open);
                    if paused {
                        tx.set_app_gate(id, AppGate::Open).await?;
                    }
                    tx.append_audit(event).await?;
                    Ok(paused)
                })
            })
            .await?;
        let endpoint = self.gates.endpoint_of(id).filter(|endpoint| self.gates.reset(endpoint));
        Ok(Reset { endpoint, pause_lifted })
    }

    /// Forgets the failures of a token endpoint here.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this process has not asked there.
    pub async fn reset_endpoint(&self, permit: &Manage, endpoint: &str) -> Result<Reset, Error> {
        if !self.gates.endpoints().iter().any(|known| known.endpoint == endpoint) {
            return Err(Error::NotFound(format!(
                "token endpoint {endpoint} that this broker asked"
            )));
        }
        self.record(self.managed(permit, What::BreakerReset, "", endpoint)).await?;
        self.gates.reset(endpoint);
        Ok(Reset { endpoint: Some(endpoint.to_owned()), pause_lifted: false })
    }
}
