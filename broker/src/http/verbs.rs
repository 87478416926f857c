//! What the pages ask of the service: a seam, so that pages are tested without a store and a provider.
//!
//! Never does anything itself. Next: `service/open_consent.rs` and `service/receive_answer.rs` do.

use std::future::Future;

use super::page::Occasion;
use crate::domain::ids::{ProjectId, ResourceId};
use crate::service::{Answer, Arrival, Departure, Error, Invitation, Service};

/// A link that looks like ours: which kind, and what stands at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Which kind.
    pub(super) occasion: Occasion,
    /// Ticket or token.
    pub(super) end: String,
}

/// What the pages ask of the service.
pub(super) trait Verbs: Clone + Send + Sync + 'static {
    /// What the page behind a link says.
    fn invitation(&self, link: &Link) -> impl Future<Output = Result<Invitation, Error>> + Send;

    /// Starts what the link is for.
    fn depart(&self, link: &Link) -> impl Future<Output = Result<Departure, Error>> + Send;

    /// Takes the provider's answer.
    fn receive(
        &self,
        place: (ProjectId, ResourceId),
        cookie: Option<&str>,
        arrival: Arrival,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;
}

impl Verbs for Service {
    async fn invitation(&self, link: &Link) -> Result<Invitation, Error> {
        match link.occasion {
            Occasion::Consent => Self::invitation(self, &link.end).await,
            Occasion::Renewal => self.renewal(&link.end).await,
        }
    }

    async fn depart(&self, link: &Link) -> Result<Departure, Error> {
        match link.occasion {
            Occasion::Consent => Self::depart(self, &link.end).await,
            Occasion::Renewal => self.depart_for_renewal(&link.end).await,
        }
    }

    async fn receive(
        &self,
        place: (ProjectId, ResourceId),
        cookie: Option<&str>,
        arrival: Arrival,
    ) -> Result<Answer, Error> {
        self.receive_from_browser(place, cookie, arrival).await
    }
}
