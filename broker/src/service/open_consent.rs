//! The browser comes with a link: show what is asked, and after a click send it to the provider.
//!
//! Never sends a browser to the provider without a cookie that binds the answer to it. Invariant: showing changes nothing;
//! each departure makes a new `state`, verifier and nonce, so an older one is worth nothing. Next: `receive_answer`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::consent::{Consent, ConsentMode, ConsentState};
use crate::domain::secret::Secret;
use crate::providers::client::AuthorizeRequest;
use crate::providers::pkce;
use crate::providers::resolved::Resolved;
use crate::service::create_consent::{lookup_hash, random_text};
use crate::service::{Error, Service, places};

/// How long the trip to the provider may take once a renewal link was clicked.
const RENEWAL_TTL: Duration = Duration::from_secs(10 * 60);

/// What the owner's page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Who asks.
    pub requester: String,
    /// The app's name for people.
    pub app: String,
    /// The mailbox it is for; empty if the owner chooses.
    pub mailbox: String,
    /// Whether the owner has to click; an application's own user does not.
    pub needs_click: bool,
}

/// Where the browser goes, and the cookie it takes along.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The provider's page.
    pub to: Url,
    /// What binds the answer to this browser.
    pub cookie: Secret,
}

impl Service {
    /// What the page behind a link says.
    ///
    /// # Errors
    /// [`Error::ConsentNotUsable`] in words for the owner.
    pub async fn invitation(&self, ticket: &str) -> Result<Invitation, Error> {
        let consent = self.consent_behind(ticket).await?;
        let app = self.app(consent.app).await?;
        Ok(Invitation {
            needs_click: consent.mode != ConsentMode::Application,
            requester: consent.requester,
            app: display_name(&app),
            mailbox: consent.expected_mailbox.map(|it| it.to_string()).unwrap_or_default(),
        })
    }

    /// Sends the browser behind a link to the provider.
    ///
    /// # Errors
    /// As [`invitation`](Self::invitation).
    pub async fn depart(&self, ticket: &str) -> Result<Departure, Error> {
        let consent = self.consent_behind(ticket).await?;
        self.dispatch(consent).await
    }

    /// What the page behind a renewal link says.
    ///
    /// # Errors
    /// As [`invitation`](Self::invitation).
    pub async fn renewal(&self, token: &str) -> Result<Invitation, Error> {
        let account = self.account_behind(token).await?;
        let app = self.app(account.app).await?;
        Ok(Invitation {
            requester: String::new(),
            app: display_name(&app),
            mailbox: account.mailbox.to_string(),
            needs_click: true,
        })
    }

    /// Starts the renewal behind a link and sends the browser to the provider.
    ///
    /// # Errors
    /// As [`invitation`](Self::invitation); [`Error::AppDisabled`] if the app is switched off.
    pub async fn depart_for_renewal(&self, token: &str) -> Result<Departure, Error> {
        let account = self.account_behind(token).await?;
        let service = self.clone();
        self.detached(async move { service.start_renewal(&account).await }).await
    }

    async fn start_renewal(&self, account: &Account) -> Result<Departure, Error> {
        let app = self.app(account.app).await?;
        let now = self.parts.clock.now();
        let owner = (account.project.clone(), app.id);
        let times = (now, now.after(RENEWAL_TTL));
        let consent = Consent {
            account: Some(account.id),
            labels: account.labels.clone(),
            expected_mailbox: Some(account.mailbox.clone()),
            created_by: "owner".to_owned(),
            ..Consent::open(self.consent_names(now), owner, ConsentMode::Invitation, times)
        };
        self.keep_new(&consent, "owner", app.name.as_str()).await?;
        self.dispatch(consent).await
    }

    async fn dispatch(&self, mut consent: Consent) -> Result<Departure, Error> {
        let app = self.app(consent.app).await?;
        if app.disabled {
            return Err(Error::AppDisabled { app: app.name.to_string() });
        }
        let cookie = random_text(&self.parts.entropy);
        consent.cookie_hash = lookup_hash(cookie.expose());
        let (to, _) = self.send_off(&mut consent, &app, self.redirect_uri(&app))?;
        self.write(move |tx| {
            Box::pin(async move { tx.move_consent(&consent, ConsentState::Open).await })
        })
        .await?;
        Ok(Departure { to, cookie })
    }

    /// The redirect URI of an app: one for each, so that no provider's answer is taken for another's (RFC 9700, mix-up).
    pub(super) fn redirect_uri(&self, app: &App) -> String {
        let mut uri = self.parts.public_url.clone();
        uri.set_path(&format!("/oauth/callback/{}/{}", app.project, app.name));
        uri.into()
    }

    /// Makes `state`, verifier and nonce for a trip to the provider; the consent keeps hashes and sealed values only.
    pub(super) fn send_off(
        &self,
        consent: &mut Consent,
        app: &App,
        redirect_uri: String,
    ) -> Result<(Url, String), Error> {
        let provider = self.resolve(app)?;
        let state = random_text(&self.parts.entropy);
        let nonce = Secret::new(URL_SAFE_NO_PAD.encode(self.parts.entropy.bytes::<16>()));
        let verifier = pkce::new_verifier(&self.parts.entropy);
        let targets = [consent_target(&provider)];
        let request = AuthorizeRequest {
            redirect_uri: &redirect_uri,
            state: state.expose(),
            nonce: nonce.expose(),
            verifier: &verifier,
            targets: &targets,
            login_hint: consent.expected_mailbox.as_ref().map(|it| it.as_str()),
            prompt: None,
        };
        let to = self.parts.providers.authorize_url(&provider, &request).map_err(Error::ours)?;
        consent.state_hash = lookup_hash(state.expose());
        consent.verifier = Some(self.parts.sealer.seal(&places::verifier(consent.id), &verifier)?);
        consent.nonce = Some(self.parts.sealer.seal(&places::nonce(consent.id), &nonce)?);
        consent.redirect_uri = redirect_uri;
        Ok((to, state.expose().to_owned()))
    }

    async fn consent_behind(&self, ticket: &str) -> Result<Consent, Error> {
        let found = self.read().await?.consent_by_ticket(&lookup_hash(ticket)).await?;
        let words = "This link is not one of ours. Ask for a new one.";
        let consent = found.ok_or_else(|| Error::ConsentNotUsable(words.to_owned()))?;
        let now = self.parts.clock.now();
        if consent.is_open(now) {
            return Ok(consent);
        }
        let words = match consent.state {
            ConsentState::Finished => "This link was used already. The mailbox is connected.",
            ConsentState::Cancelled => "This request was withdrawn.",
            ConsentState::Failed => {
                "This link was used already and did not succeed. Ask for a new one."
            }
            _ => "This link has expired. Ask for a new one.",
        };
        Err(Error::ConsentNotUsable(words.to_owned()))
    }
}

/// The target a consent is for: mail where the provider has it.
pub(super) fn consent_target(provider: &Resolved) -> String {
    let first = || provider.targets.keys().next().cloned().unwrap_or_default();
    if provider.targets.contains_key("mail") { "mail".to_owned() } else { first() }
}

fn display_name(app: &App) -> String {
    if app.display_name.is_empty() { app.name.to_string() } else { app.display_name.clone() }
}
