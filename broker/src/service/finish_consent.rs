//! The last step of a consent: prove that the grant opens the mailbox, then make the account live.
//!
//! Never makes an account of a grant that was not proven where the account has mail hosts. Invariant: account, grant, token,
//! consent and audit record change in one transaction, or none does. Next: `access_token` serves the account.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::App;
use crate::domain::caller::Manage;
use crate::domain::consent::{Consent, ConsentState};
use crate::domain::event::{Event, What};
use crate::domain::grant::{AccessToken, Grant};
use crate::domain::ids::{AccountId, ConsentId, GrantId, Mailbox, ResourceId};
use crate::domain::provider::Issued;
use crate::domain::secret::{Sealed, Secret};
use crate::failpoint;
use crate::providers::client::TokenKind;
use crate::seal::Sealer;
use crate::service::create_consent::lookup_hash;
use crate::service::receive_answer::words_for_owner;
use crate::service::refresh_outcome::unsealed;
use crate::service::{ConsentView, Error, Service, changes, places};

/// A grant that waits for its account.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) mailbox: Mailbox,
    /// Whether the provider itself said that this is the user's mailbox.
    pub(super) named_by_provider: bool,
    pub(super) subject: String,
    pub(super) authority: String,
    pub(super) audience: String,
    pub(super) access_token: Secret,
    pub(super) refresh_token: Secret,
    pub(super) issued: Issued,
}

impl Service {
    /// Finishes an application's consent with the code its browser brought back.
    ///
    /// # Errors
    /// [`Error::ConsentNotUsable`] if the code does not fit, was used, or came too late.
    pub async fn finish_consent(
        &self,
        permit: &Manage,
        name: &ResourceId,
        code: &Secret,
    ) -> Result<ConsentView, Error> {
        let unfit =
            || Error::ConsentNotUsable("there is no consent to finish with this code".into());
        let found = self.read().await?.consent_by_name(permit.project(), name).await?;
        let consent = found.ok_or_else(unfit)?;
        let fits = bool::from(lookup_hash(code.expose()).ct_eq(consent.finish_hash.as_slice()));
        let in_time = consent.expires_at > self.parts.clock.now();
        if !fits || !in_time || consent.state != ConsentState::Pending {
            return Err(unfit());
        }
        let service = self.clone();
        self.detached(async move { service.finish(consent).await }).await?;
        self.consent(permit, name).await
    }

    async fn finish(&self, consent: Consent) -> Result<Mailbox, Error> {
        let app = self.app(consent.app).await?;
        let sealed = consent.answer.clone().ok_or(Error::EtagMismatch)?;
        let pending =
            Pending::open(&self.parts.sealer, consent.id, &sealed, self.parts.clock.now())?;
        let claimed = Consent { state: ConsentState::Claimed, ..consent.clone() };
        let claim = claimed.clone();
        self.write(move |tx| {
            Box::pin(async move { tx.move_consent(&claim, ConsentState::Pending).await })
        })
        .await?;
        match self.connect(&claimed, &app, pending).await {
            Ok(mailbox) => Ok(mailbox),
            Err(error) => {
                self.fail_consent(&claimed, &words_for_owner(&error)).await?;
                Err(error)
            }
        }
    }

    /// Gives back what the owner of a pending consent gave, if they did.
    pub(super) async fn give_back_pending(&self, consent: &Consent) -> Result<(), Error> {
        let Some(sealed) = &consent.answer else { return Ok(()) };
        let now = self.parts.clock.now();
        let pending = Pending::open(&self.parts.sealer, consent.id, sealed, now)?;
        let app = self.app(consent.app).await?;
        let provider = self.resolve(&app)?;
        let token = Some((pending.refresh_token, TokenKind::Refresh));
        self.give_back(&app, &provider, token).await;
        Ok(())
    }

    /// Proves the grant and makes the account live; gives the grant back if that fails.
    pub(super) async fn connect(
        &self,
        consent: &Consent,
        app: &App,
        pending: Pending,
    ) -> Result<Mailbox, Error> {
        let provider = self.resolve(app)?;
        let outcome = match self.prove(&provider, &pending).await {
            Ok(()) => self.go_live(consent, app, &pending).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let token = Some((pending.refresh_token, TokenKind::Refresh));
            self.give_back(app, &provider, token).await;
            return Err(error);
        }
        failpoint::reach("consent.live");
        Ok(pending.mailbox)
    }

    async fn go_live(&self, consent: &Consent, app: &App, pending: &Pending) -> Result<(), Error> {
        let existing = self.existing(consent, app, pending).await?;
        let now = self.parts.clock.now();
        let fresh = existing.is_none();
        let account = existing.unwrap_or_else(|| self.new_account(consent, app, pending));
        let done = Consent {
            state: ConsentState::Finished,
            account: Some(account.id),
            verifier: None,
            nonce: None,
            answer: None,
            ..consent.clone()
        };
        let event = self.consent_event(consent, What::ConsentFinished, "owner", 0);
        let event = Event { account: account.name.to_string(), ..event };
        let (sealer, app, pending) = (self.parts.sealer.clone(), app.id, pending.clone());
        let service = self.clone();
        self.write(move |tx| {
            Box::pin(async move {
                // Numbered here, where no refresh can take the number meanwhile.
                let newest = tx.current_grant(account.id).await?;
                let generation = newest.map_or(0, |grant| grant.generation) + 1;
                // With an older grant some providers would take this one, too.
                tx.end_giving_back(account.id).await?;
                let grant = service.first_grant(account.id, generation, &pending);
                let token = service.first_token(account.id, generation, &pending);
                let account = if fresh {
                    tx.insert_account(&sealer.guard(account.clone())).await?;
                    account
                } else {
                    let target = (account.id, None);
                    changes::edit_account(tx, &sealer, target, now, |account| {
                        account.app = app;
                        account.subject = pending.subject;
                        account.authority = pending.authority;
                        account.standing = Standing::Active;
                        account.provider_code = String::new();
                        account.provider_message = String::new();
                    })
                    .await?
                };
                tx.append_grant(&grant.map_err(unsealed)?).await?;
                tx.put_access_token(&token.map_err(unsealed)?).await?;
                tx.begin_turns((account.id, app), now, None).await?;
                service.reschedule(tx, &account).await?;
                tx.move_consent(&done, ConsentState::Claimed).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await
    }

    /// The account this consent renews: the one it names, or the one with its mailbox. Never another user's.
    async fn existing(
        &self,
        consent: &Consent,
        app: &App,
        pending: &Pending,
    ) -> Result<Option<Account>, Error> {
        let mut conn = self.read().await?;
        let row = match consent.account {
            Some(id) => conn.account(id).await?,
            None => conn.account_by_mailbox(&consent.project, &pending.mailbox).await?,
        };
        let Some(account) = row.map(|row| self.parts.sealer.admit(row)).transpose()? else {
            return Ok(None);
        };
        let same_user = account.subject.is_empty()
            || pending.subject.is_empty()
            || account.app != app.id
            || account.subject == pending.subject;
        if !same_user || account.mailbox != pending.mailbox {
            let words =
                "This mailbox is connected by another user of the provider. Nothing was stored.";
            return Err(Error::ConsentNotUsable(words.to_owned()));
        }
        Ok(Some(account))
    }

    fn new_account(&self, consent: &Consent, app: &App, pending: &Pending) -> Account {
        let now = self.parts.clock.now();
        let name = ResourceId::parse(&consent.account_name);
        Account {
            id: AccountId::new(now, &self.parts.entropy),
            project: consent.project.clone(),
            name: name.unwrap_or_else(|_| ResourceId::random(&self.parts.entropy)),
            mailbox: pending.mailbox.clone(),
            sasl_user: String::new(),
            display_name: String::new(),
            app: app.id,
            labels: consent.labels.clone(),
            subject: pending.subject.clone(),
            authority: pending.authority.clone(),
            disabled: false,
            standing: Standing::Active,
            provider_code: String::new(),
            provider_message: String::new(),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    fn first_grant(
        &self,
        account: AccountId,
        generation: i64,
        pending: &Pending,
    ) -> Result<Grant, Error> {
        let now = self.parts.clock.now();
        let id = GrantId::new(now, &self.parts.entropy);
        let place = places::refresh_token(id, account, generation);
        Ok(Grant {
            id,
            account,
            generation,
            parent: 0,
            refresh_token: Some(self.parts.sealer.seal(&place, &pending.refresh_token)?),
            received_at: now,
            proven: false,
            ends_at: pending.issued.refresh_expires_in.map(|life| now.after(life)),
            carried: false,
            refusals: 0,
        })
    }

    fn first_token(
        &self,
        account: AccountId,
        generation: i64,
        pending: &Pending,
    ) -> Result<AccessToken, Error> {
        let scopes = pending.issued.scopes.clone().unwrap_or_default();
        let purpose = (account, pending.audience.as_str());
        let when = (generation, self.parts.clock.now());
        self.sealed_token(purpose, when, &pending.access_token, (&pending.issued, scopes))
    }
}

/// A pending grant as it is sealed.
#[derive(Serialize, Deserialize)]
struct Packed {
    mailbox: String,
    named_by_provider: bool,
    subject: String,
    authority: String,
    audience: String,
    access_token: Zeroizing<String>,
    refresh_token: Zeroizing<String>,
    token_type: String,
    ends_at: i64,
    #[serde(default)]
    grant_ends_at: Option<i64>,
    scopes: Option<Vec<String>>,
}

impl Pending {
    /// Packs and seals it for the time between the browser's return and `FinishConsent`.
    pub(super) fn seal(&self, sealer: &Sealer, id: ConsentId, now: Time) -> Result<Sealed, Error> {
        let life = self.issued.expires_in.unwrap_or(crate::domain::token::ASSUMED_LIFE);
        let packed = Packed {
            mailbox: self.mailbox.to_string(),
            named_by_provider: self.named_by_provider,
            subject: self.subject.clone(),
            authority: self.authority.clone(),
            audience: self.audience.clone(),
            access_token: Zeroizing::new(self.access_token.expose().to_owned()),
            refresh_token: Zeroizing::new(self.refresh_token.expose().to_owned()),
            token_type: self.issued.token_type.clone(),
            ends_at: now.after(life).millis(),
            grant_ends_at: self.issued.refresh_expires_in.map(|life| now.after(life).millis()),
            scopes: self.issued.scopes.clone(),
        };
        let json = Secret::new(serde_json::to_string(&packed).map_err(Error::ours)?);
        Ok(sealer.seal(&places::answer(id), &json)?)
    }

    fn open(sealer: &Sealer, id: ConsentId, sealed: &Sealed, now: Time) -> Result<Self, Error> {
        let json = sealer.open(&places::answer(id), sealed)?;
        // The error of a parser may quote what it read.
        let packed: Packed = serde_json::from_str(json.expose())
            .map_err(|_| Error::ours("a pending grant cannot be read"))?;
        let access_token = Secret::from(packed.access_token.as_str());
        let refresh_token = Secret::from(packed.refresh_token.as_str());
        let left: Duration = now.until(Time::from_millis(packed.ends_at));
        Ok(Self {
            mailbox: Mailbox::parse(&packed.mailbox).map_err(Error::ours)?,
            named_by_provider: packed.named_by_provider,
            subject: packed.subject,
            authority: packed.authority,
            audience: packed.audience,
            issued: Issued {
                access_token: Some(access_token.clone()),
                token_type: packed.token_type,
                expires_in: Some(left),
                refresh_token: Some(refresh_token.clone()),
                refresh_expires_in: packed
                    .grant_ends_at
                    .map(|end| now.until(Time::from_millis(end))),
                scopes: packed.scopes,
                id_token: None,
            },
            access_token,
            refresh_token,
        })
    }
}
