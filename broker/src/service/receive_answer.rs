//! The provider's answer to a consent comes back, by browser or by loopback listener.
//!
//! Never believes it alone: `state` must be one of ours and unused, the cookie must be the browser's, the path must be the
//! app's, `iss` the provider's. Invariant: an answer is worked on once; whatever goes wrong after that ends the consent in
//! words its owner understands, stores no token and is audited. Next: `identity` says who consented, `finish_consent` makes
//! the account.

use subtle::ConstantTimeEq;
use url::Url;

use crate::domain::app::App;
use crate::domain::caller::Manage;
use crate::domain::consent::{Consent, ConsentMode, ConsentState};
use crate::domain::event::{Event, What};
use crate::domain::ids::{Mailbox, ProjectId, ResourceId};
use crate::domain::provider::Issued;
use crate::domain::refusal::{RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::failpoint;
use crate::providers::client::CodeGrant;
use crate::providers::resolved::Resolved;
use crate::service::create_consent::{lookup_hash, random_text};
use crate::service::open_consent::consent_target;
use crate::service::{ConsentView, Error, Service, places};
use crate::telemetry::metrics;

/// What came back.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The `state` parameter.
    pub state: String,
    /// The `code` parameter.
    pub code: Option<Secret>,
    /// The `iss` parameter (RFC 9207).
    pub iss: Option<String>,
    /// The `error` parameter.
    pub error: Option<String>,
}

/// What the browser is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The mailbox is connected.
    Connected(Mailbox),
    /// Go back to the application that asked.
    GoTo(Url),
}

impl Service {
    /// Takes the answer a browser brings to an app's redirect URI.
    ///
    /// # Errors
    /// [`Error::ConsentNotUsable`] in words for the owner.
    pub async fn receive_from_browser(
        &self,
        (project, app): (ProjectId, ResourceId),
        cookie: Option<&str>,
        arrival: Arrival,
    ) -> Result<Answer, Error> {
        let consent = self.consent_of(&arrival.state).await?;
        let owner = self.app(consent.app).await?;
        let cookie_fits = cookie.is_some_and(|cookie| {
            bool::from(lookup_hash(cookie).ct_eq(consent.cookie_hash.as_slice()))
        });
        let fits = cookie_fits
            && consent.mode != ConsentMode::Loopback
            && (&owner.project, &owner.name) == (&project, &app);
        if !fits {
            self.refuse_arrival(&consent, "owner").await?;
            return Err(foreign());
        }
        let service = self.clone();
        self.detached(async move { service.take_in(&owner, arrival).await }).await
    }

    /// Takes the answer a loopback listener received.
    ///
    /// # Errors
    /// [`Error::ConsentNotUsable`] in words for the owner; also if another caller started it.
    pub async fn exchange_consent(
        &self,
        permit: &Manage,
        name: &ResourceId,
        arrival: Arrival,
    ) -> Result<ConsentView, Error> {
        let consent = self.consent_of(&arrival.state).await?;
        let fits = consent.mode == ConsentMode::Loopback
            && consent.name == *name
            && consent.project == *permit.project()
            && consent.created_by == permit.actor();
        if !fits {
            self.refuse_arrival(&consent, permit.actor()).await?;
            return Err(foreign());
        }
        let owner = self.app(consent.app).await?;
        let service = self.clone();
        let answer = self.detached(async move { service.take_in(&owner, arrival).await }).await;
        // The browser's door counts its own.
        metrics::consent(if answer.is_ok() { "connected" } else { "refused" });
        answer?;
        self.consent(permit, name).await
    }

    async fn consent_of(&self, state: &str) -> Result<Consent, Error> {
        let found = self.read().await?.consent_by_state(&lookup_hash(state)).await?;
        if let Some(consent) = found {
            return Ok(consent);
        }
        let event = Event {
            at: self.parts.clock.now(),
            what: What::ConsentAnswered,
            project: ProjectId::default_project().to_string(),
            actor: "owner".to_owned(),
            account: String::new(),
            subject: String::new(),
            granted: false,
            reason: foreign().reason_number(),
            address: String::new(),
            detail: "unknown state".to_owned(),
        };
        self.record(event).await?;
        Err(foreign())
    }

    async fn take_in(&self, app: &App, arrival: Arrival) -> Result<Answer, Error> {
        let now = self.parts.clock.now();
        let hash = lookup_hash(&arrival.state);
        let claimed = self
            .write(move |tx| Box::pin(async move { tx.claim_consent(&hash, now).await }))
            .await?;
        let Some(consent) = claimed else {
            let words = "This answer was used already, or came too late. Ask for a new link.";
            return Err(Error::ConsentNotUsable(words.to_owned()));
        };
        failpoint::reach("consent.claimed");
        let outcome = self.work_on(&consent, app, arrival).await;
        match outcome {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let words = words_for_owner(&error);
                self.fail_consent(&consent, &words).await?;
                Err(Error::ConsentNotUsable(words))
            }
        }
    }

    async fn work_on(
        &self,
        consent: &Consent,
        app: &App,
        arrival: Arrival,
    ) -> Result<Answer, Error> {
        let provider = self.resolve(app)?;
        let refuse = |words: &str| Error::ConsentNotUsable(words.to_owned());
        provider.check_iss(arrival.iss.as_deref(), app.endpoints.iss_advertised).map_err(|_| {
            refuse(
                "The answer came from another provider than the one we asked. Nothing was stored.",
            )
        })?;
        if let Some(error) = &arrival.error {
            return Err(refuse(words_of_denial(error)));
        }
        let code = arrival.code.ok_or_else(|| refuse("The provider's answer holds no code."))?;
        let issued = self.redeem(consent, app, &provider, &code).await?;
        failpoint::reach("consent.exchanged");
        let pending = self.identify(consent, app, &provider, issued).await?;
        if consent.mode != ConsentMode::Application {
            return self.connect(consent, app, pending).await.map(Answer::Connected);
        }
        let finish = random_text(&self.parts.entropy);
        let answer = pending.seal(&self.parts.sealer, consent.id, self.parts.clock.now())?;
        let next = Consent {
            state: ConsentState::Pending,
            answer: Some(answer),
            finish_hash: lookup_hash(finish.expose()),
            verifier: None,
            nonce: None,
            ..consent.clone()
        };
        let event = self.consent_event(consent, What::ConsentAnswered, "owner", 0);
        self.write(move |tx| {
            Box::pin(async move {
                tx.move_consent(&next, ConsentState::Claimed).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        let mut to = Url::parse(&consent.return_uri).map_err(Error::ours)?;
        to.query_pairs_mut()
            .append_pair(
                "consent",
                &format!("projects/{}/consents/{}", consent.project, consent.name),
            )
            .append_pair("code", finish.expose());
        Ok(Answer::GoTo(to))
    }

    async fn redeem(
        &self,
        consent: &Consent,
        app: &App,
        provider: &Resolved,
        code: &Secret,
    ) -> Result<Issued, Error> {
        let sealed = consent.verifier.as_ref().ok_or_else(foreign)?;
        let verifier = self.parts.sealer.open(&places::verifier(consent.id), sealed)?;
        let auth = self.client_auth(app).await?;
        let grant = CodeGrant {
            code,
            verifier: &verifier,
            redirect_uri: &consent.redirect_uri,
            target: &consent_target(provider),
        };
        let redeemed = self.parts.providers.exchange_code(provider, &auth, &grant).await;
        redeemed.map_err(|refused| Error::ConsentNotUsable(words_of_refusal(&refused)))
    }

    /// Ends a consent that came to nothing.
    pub(super) async fn fail_consent(&self, consent: &Consent, words: &str) -> Result<(), Error> {
        let next = Consent {
            state: ConsentState::Failed,
            failure: words.to_owned(),
            verifier: None,
            nonce: None,
            answer: None,
            ..consent.clone()
        };
        let reason = foreign().reason_number();
        let event = self.consent_event(consent, What::ConsentFinished, "owner", reason);
        let from = consent.state;
        self.write(move |tx| {
            Box::pin(async move {
                tx.move_consent(&next, from).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }

    async fn refuse_arrival(&self, consent: &Consent, actor: &str) -> Result<(), Error> {
        let reason = foreign().reason_number();
        self.record(self.consent_event(consent, What::ConsentAnswered, actor, reason)).await
    }

    /// An audit record about a consent.
    pub(super) fn consent_event(
        &self,
        consent: &Consent,
        what: What,
        actor: &str,
        reason: i32,
    ) -> Event {
        Event {
            at: self.parts.clock.now(),
            what,
            project: consent.project.to_string(),
            actor: actor.to_owned(),
            account: consent.account_name.clone(),
            subject: format!("consents/{}", consent.name),
            granted: reason == 0,
            reason,
            address: String::new(),
            detail: consent.mode.as_str().to_owned(),
        }
    }
}

fn foreign() -> Error {
    let words = "This answer does not belong to a request that was started in this browser. \
                 Nothing was stored. Open your link again.";
    Error::ConsentNotUsable(words.to_owned())
}

pub(super) fn words_for_owner(error: &Error) -> String {
    match error {
        Error::ConsentNotUsable(words) => words.clone(),
        Error::Unavailable(_) => {
            "We could not store it. Nothing was changed; try again.".to_owned()
        }
        _ => "Something is wrong on our side. Nothing was stored; ask for a new link.".to_owned(),
    }
}

/// Words for the codes of RFC 6749 section 4.1.2.1 and OpenID Connect; the provider's own words are not repeated.
fn words_of_denial(error: &str) -> &'static str {
    match error {
        "access_denied" | "consent_required" => "You did not allow it. Nothing was stored.",
        "login_required" | "interaction_required" => {
            "The provider could not sign you in. Try again."
        }
        "temporarily_unavailable" | "server_error" => {
            "The provider is temporarily unavailable. Try again in a few minutes."
        }
        "invalid_scope" | "unauthorized_client" | "invalid_client" | "invalid_request" => {
            "The provider does not accept this request. The operator has to correct the app."
        }
        _ => "The provider refused. Nothing was stored.",
    }
}

fn words_of_refusal(refused: &Refused) -> String {
    match refused.class {
        RefusalClass::AppBroken => {
            "The provider does not accept our registration. The operator has to correct the app."
        }
        RefusalClass::Throttled | RefusalClass::Transient | RefusalClass::Ambiguous => {
            "The provider is temporarily unavailable. Try again in a few minutes."
        }
        RefusalClass::BlockedByPolicy => {
            "A policy of your organisation forbids it. Its administrator has to allow this app."
        }
        RefusalClass::NeedsConsent | RefusalClass::NeedsInteraction => {
            "The provider did not accept its own answer: it may have come too late. Try again."
        }
    }
    .to_owned()
}
