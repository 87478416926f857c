//! Starts a consent: checks what is asked, makes the link's secret, keeps its hash.
//!
//! Never keeps a link or a `state` in plain. Invariant: an invitation names the mailbox beforehand, a return address is one
//! the app registered, and a loopback listener is on loopback. Next: `open_consent` when the browser comes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::caller::Manage;
use crate::domain::consent::{Consent, ConsentMode};
use crate::domain::event::{Event, What};
use crate::domain::ids::{ConsentId, Mailbox, ResourceId};
use crate::domain::secret::Secret;
use crate::entropy::Entropy;
use crate::service::accounts::AccountView;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};

const DEFAULT_TTL: Duration = Duration::from_secs(10 * 60);
const INVITATION_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a consent shall be.
#[derive(Clone, Debug)]
pub struct ConsentDraft {
    /// The app that asks.
    pub app: ResourceId,
    /// How owner and broker come together.
    pub mode: ConsentMode,
    /// The mailbox that must come of it.
    pub expected_mailbox: Option<Mailbox>,
    /// The account to renew.
    pub account: Option<AccountName>,
    /// The id of a new account.
    pub account_id: Option<ResourceId>,
    /// APPLICATION: where the browser goes afterwards.
    pub return_uri: String,
    /// LOOPBACK: the listener.
    pub loopback_uri: String,
    /// How long the link works.
    pub ttl: Option<Duration>,
    /// Who asks, for the owner's page.
    pub requester: String,
    /// Labels for a new account.
    pub labels: BTreeMap<String, String>,
}

/// A consent with the names of what it refers to.
#[derive(Clone, Debug)]
pub struct ConsentView {
    /// The consent.
    pub consent: Consent,
    /// The app's id for people.
    pub app: String,
    /// The account it is for or led to.
    pub account: Option<AccountView>,
    /// The link to open; only right after it was made.
    pub uri: String,
    /// LOOPBACK: what the listener has to find in `state`; only right after it was made.
    pub loopback_state: String,
}

impl Service {
    /// Starts a consent.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field; [`Error::AppDisabled`] if the app is switched off.
    pub async fn create_consent(
        &self,
        permit: &Manage,
        draft: ConsentDraft,
    ) -> Result<ConsentView, Error> {
        let app = self.app_named(permit.project(), &draft.app).await?;
        if app.disabled {
            return Err(Error::AppDisabled { app: app.name.to_string() });
        }
        let account = match &draft.account {
            Some(name) => Some(self.account_named(permit.project(), name).await?),
            None => None,
        };
        check(&draft, &app, account.as_ref())?;
        if let Some(id) = &draft.account_id {
            self.check_free(permit, id, draft.expected_mailbox.as_ref()).await?;
        }
        let (mut consent, ticket) = self.new_consent(permit, draft, &app, account.as_ref());
        let (uri, loopback_state) = if consent.mode == ConsentMode::Loopback {
            let redirect_uri = consent.return_uri.clone();
            let (uri, state) = self.send_off(&mut consent, &app, redirect_uri)?;
            (uri, state)
        } else {
            consent.ticket_hash = lookup_hash(ticket.expose());
            let mut uri = self.parts.public_url.clone();
            uri.set_path(&format!("/consent/{}", ticket.expose()));
            (uri, String::new())
        };
        self.keep_new(&consent, permit.actor(), app.name.as_str()).await?;
        let account = match account {
            Some(account) => Some(self.view_account(account).await?),
            None => None,
        };
        let uri = uri.into();
        Ok(ConsentView { consent, app: app.name.to_string(), account, uri, loopback_state })
    }

    /// Refuses an id that another mailbox has, before its owner is sent on the way for nothing.
    async fn check_free(
        &self,
        permit: &Manage,
        id: &ResourceId,
        mailbox: Option<&Mailbox>,
    ) -> Result<(), Error> {
        let found = self.find_account(permit.project(), &AccountName::Id(id.clone())).await?;
        match found {
            Some(account) if mailbox != Some(&account.mailbox) => {
                Err(Error::AlreadyExists(format!("account {id}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes a new consent down, with its audit record.
    pub(super) async fn keep_new(
        &self,
        consent: &Consent,
        actor: &str,
        app: &str,
    ) -> Result<(), Error> {
        let event = Event {
            at: consent.created_at,
            what: What::ConsentCreated,
            project: consent.project.to_string(),
            actor: actor.to_owned(),
            account: consent.account_name.clone(),
            subject: format!("consents/{}", consent.name),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: format!("{} {app}", consent.mode.as_str()),
        };
        let consent = consent.clone();
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_consent(&consent).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }

    /// The names of a consent that is being made.
    pub(super) fn consent_names(&self, now: Time) -> (ConsentId, ResourceId) {
        let entropy = &self.parts.entropy;
        (ConsentId::new(now, entropy), ResourceId::random(entropy))
    }

    fn new_consent(
        &self,
        permit: &Manage,
        draft: ConsentDraft,
        app: &App,
        account: Option<&Account>,
    ) -> (Consent, Secret) {
        let now = self.parts.clock.now();
        let usual =
            if draft.mode == ConsentMode::Invitation { INVITATION_TTL } else { DEFAULT_TTL };
        let expected = draft.expected_mailbox.or_else(|| account.map(|it| it.mailbox.clone()));
        let requester =
            if draft.requester.is_empty() { permit.actor().to_owned() } else { draft.requester };
        let names = self.consent_names(now);
        let ends = now.after(draft.ttl.unwrap_or(usual));
        let owner = (permit.project().clone(), app.id);
        let consent = Consent {
            account: account.map(|account| account.id),
            account_name: draft.account_id.map(|id| id.to_string()).unwrap_or_default(),
            labels: draft.labels,
            expected_mailbox: expected,
            requester,
            return_uri: draft.return_uri + &draft.loopback_uri,
            created_by: permit.actor().to_owned(),
            ..Consent::open(names, owner, draft.mode, (now, ends))
        };
        (consent, random_text(&self.parts.entropy))
    }
}

/// 256 random bits as text that fits into a URL.
pub(super) fn random_text(entropy: &Entropy) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

/// What is kept of a random text to find it again: it cannot be guessed, so a plain hash tells nothing.
pub(super) fn lookup_hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

fn check(draft: &ConsentDraft, app: &App, account: Option<&Account>) -> Result<(), Error> {
    if draft.ttl.is_some_and(|ttl| ttl.is_zero() || ttl > LONGEST_TTL) {
        return Err(Error::invalid("ttl", "use up to 30 days"));
    }
    if account.is_some() && draft.account_id.is_some() {
        return Err(Error::invalid("account_id", "leave it out when an account is renewed"));
    }
    let expected = draft.expected_mailbox.as_ref();
    if let (Some(account), Some(expected)) = (account, expected)
        && account.mailbox != *expected
    {
        return Err(Error::invalid("expected_mailbox", "it is not the mailbox of `account`"));
    }
    match draft.mode {
        ConsentMode::Invitation if expected.is_none() && account.is_none() => Err(Error::invalid(
            "expected_mailbox",
            "an invitation needs the mailbox it is for, so that nobody else's can come of it",
        )),
        ConsentMode::Application if !app.return_uris.contains(&draft.return_uri) => {
            Err(Error::invalid("return_uri", "use one of the app's return_uris, exactly"))
        }
        ConsentMode::Loopback if !is_loopback(&draft.loopback_uri) => Err(Error::invalid(
            "loopback_uri",
            "use http://localhost:PORT/ or http://127.0.0.1:PORT/",
        )),
        ConsentMode::Application if !draft.loopback_uri.is_empty() => {
            Err(Error::invalid("loopback_uri", "only for LOOPBACK"))
        }
        ConsentMode::Loopback | ConsentMode::Invitation if !draft.return_uri.is_empty() => {
            Err(Error::invalid("return_uri", "only for APPLICATION"))
        }
        _ => Ok(()),
    }
}

fn is_loopback(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        url.scheme() == "http"
            && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
            && url.port().is_some()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_elsewhere_is_no_loopback() {
        assert!(is_loopback("http://localhost:43117/"));
        assert!(is_loopback("http://127.0.0.1:1/"));
        for bad in [
            "http://localhost/",
            "https://localhost:1/",
            "http://localhost.evil.example:1/",
            "http://127.0.0.1:1/path",
            "http://127.0.0.1:1/?x=1",
            "http://user@evil.example:1/",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
