//! Reads, lists and withdraws consents.
//!
//! Never shows a link again. Invariant: a consent that is withdrawn cannot be finished, and what its owner gave goes back.

use crate::domain::caller::Manage;
use crate::domain::consent::{Consent, ConsentState};
use crate::domain::event::What;
use crate::domain::ids::ResourceId;
use crate::service::{ConsentView, Error, Service};
use crate::store::{Page, PageRequest};

impl Service {
    /// One consent.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn consent(&self, permit: &Manage, name: &ResourceId) -> Result<ConsentView, Error> {
        let found = self.read().await?.consent_by_name(permit.project(), name).await?;
        let consent = found.ok_or_else(|| Error::NotFound(format!("consent {name}")))?;
        self.view_consent(consent).await
    }

    /// The open consents of a project.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn consents(
        &self,
        permit: &Manage,
        page: PageRequest,
    ) -> Result<Page<ConsentView>, Error> {
        let found = self
            .read()
            .await?
            .open_consents(permit.project(), self.parts.clock.now(), &page)
            .await?;
        let mut items = Vec::with_capacity(found.items.len());
        for consent in found.items {
            items.push(self.view_consent(consent).await?);
        }
        Ok(Page { items, next_page_token: found.next_page_token })
    }

    /// Withdraws a consent that is not finished.
    ///
    /// # Errors
    /// [`Error::ConsentNotUsable`] if it has ended already.
    pub async fn cancel_consent(
        &self,
        permit: &Manage,
        name: &ResourceId,
    ) -> Result<ConsentView, Error> {
        let view = self.consent(permit, name).await?;
        let (service, owner) = (self.clone(), permit.clone());
        self.detached(async move { service.cancel(&owner, view).await }).await?;
        self.consent(permit, name).await
    }

    async fn cancel(&self, permit: &Manage, view: ConsentView) -> Result<(), Error> {
        let from = view.consent.state;
        if !matches!(from, ConsentState::Open | ConsentState::Pending) {
            return Err(Error::ConsentNotUsable("this consent has ended already".to_owned()));
        }
        let next = Consent {
            state: ConsentState::Cancelled,
            verifier: None,
            nonce: None,
            answer: None,
            ..view.consent.clone()
        };
        let event = self.consent_event(&next, What::ConsentCancelled, permit.actor(), 0);
        self.write(move |tx| {
            Box::pin(async move {
                tx.move_consent(&next, from).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        self.give_back_pending(&view.consent).await
    }

    async fn view_consent(&self, consent: Consent) -> Result<ConsentView, Error> {
        let app = self.app(consent.app).await?.name.to_string();
        let account = match consent.account {
            Some(id) => Some(self.view_account(self.account(id).await?).await?),
            None => None,
        };
        let (uri, loopback_state) = (String::new(), String::new());
        Ok(ConsentView { consent, app, account, uri, loopback_state })
    }
}
