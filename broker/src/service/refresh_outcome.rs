//! What came of a refresh: the answer stored before it is used, or the refusal judged and written down.
//!
//! Never drops an answer that is still wanted, and never settles an account for an outage or a broken app. Invariant: grant,
//! token, attempt and audit record change in one transaction. Next: `access_token` hands out what was stored.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::{App, AppHealth};
use crate::domain::event::{Event, What};
use crate::domain::grant::{AccessToken, Grant};
use crate::domain::ids::{GrantId, TokenId};
use crate::domain::provider::Issued;
use crate::domain::refusal::{RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::domain::token;
use crate::providers::client::TokenKind;
use crate::service::access_token::fingerprint;
use crate::service::refresh::Errand;
use crate::service::{Error, Service, changes, places};
use crate::store::{self, Result as Stored, Tx};

/// How long a caller is told to wait when the provider did not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What became of an answer.
enum Kept {
    /// It is stored; this is the account as it stands now.
    Appended(Box<Account>, Option<Box<AccessToken>>),
    /// The grant it belongs to is no longer ours.
    Unwanted,
}

impl Service {
    /// Stores what the provider handed out, as a new generation, before anyone uses it. If the grant was given back or
    /// moved to another app meanwhile, nothing is stored and the answer goes back too.
    pub(super) async fn keep(&self, errand: Errand, issued: Issued) -> Result<AccessToken, Error> {
        let errand = Arc::new(errand);
        let (service, of_job, answer) = (self.clone(), Arc::clone(&errand), issued.clone());
        let kept = self.write(move |tx| {
            Box::pin(async move { service.append_answer(tx, &of_job, &answer).await })
        });
        match kept.await? {
            Kept::Appended(account, token) => {
                self.check_standing(&account)?;
                token
                    .map(|token| *token)
                    .ok_or(Error::ProviderUnavailable { retry_after: RETRY_AFTER })
            }
            Kept::Unwanted => {
                let refresh_token = issued.refresh_token.map(|token| (token, TokenKind::Refresh));
                let access_token = issued.access_token.map(|token| (token, TokenKind::Access));
                let token = refresh_token.or(access_token);
                self.give_back(&errand.app, &errand.provider, token).await;
                self.check_standing(&self.account(errand.account.id).await?)?;
                Err(Error::RefreshInProgress)
            }
        }
    }

    /// The write of [`keep`](Self::keep): the generation is numbered in the transaction, so a consent that finished
    /// meanwhile cannot make the answer fall between two stools.
    async fn append_answer(&self, tx: &mut Tx, errand: &Errand, issued: &Issued) -> Stored<Kept> {
        let (id, now) = (errand.account.id, self.parts.clock.now());
        let account = match tx.account(id).await? {
            Some(row) => Some(changes::admit(&self.parts.sealer, row)?),
            None => None,
        };
        let grants = tx.grants(id).await?;
        let stands = grants.iter().any(|grant| grant.id == errand.grant.id);
        let Some(account) = account.filter(|account| stands && account.app == errand.app.id) else {
            tx.end_attempt(errand.attempt.id, now, "unwanted", "").await?;
            let error = Error::NeedsConsent { link: self.consent_link(&errand.account) };
            tx.append_audit(self.refresh_event(errand, error.reason_number())).await?;
            return Ok(Kept::Unwanted);
        };
        let generation = 1 + grants.iter().map(|grant| grant.generation).max().unwrap_or_default();
        let refresh_token = issued.refresh_token.as_ref().unwrap_or(&errand.spent);
        let grant = self.next_grant(errand, generation, refresh_token).map_err(unsealed)?;
        tx.append_grant(&grant).await?;
        tx.prove_grant(id, errand.grant.generation).await?;
        let mut token = None;
        if let Some(secret) = &issued.access_token {
            let new = self.new_token(errand, generation, secret, issued).map_err(unsealed)?;
            tx.put_access_token(&new).await?;
            token = Some(Box::new(new));
        }
        tx.end_attempt(errand.attempt.id, now, "issued", "").await?;
        tx.set_refreshed(id, now, None).await?;
        if errand.app.health != AppHealth::Accepted {
            tx.set_app_health(errand.app.id, &AppHealth::Accepted).await?;
        }
        tx.append_audit(self.refresh_event(errand, 0)).await?;
        Ok(Kept::Appended(Box::new(account), token))
    }

    /// Writes down why there is no new token, and what that means for account and app.
    pub(super) async fn note(&self, errand: Errand, refused: Refused) -> Result<Error, Error> {
        let error = self.meaning(&errand, &refused);
        let now = self.parts.clock.now();
        let event = self.refresh_event(&errand, error.reason_number());
        let sealer = self.parts.sealer.clone();
        let standing = standing_after(refused.class);
        tracing::info!(
            account = %errand.account.name, app = %errand.app.name, class = refused.class.as_str(),
            code = %refused.code, "a refresh was refused"
        );
        self.write(move |tx| {
            Box::pin(async move {
                let class = refused.class.as_str();
                tx.end_attempt(errand.attempt.id, now, class, &refused.code).await?;
                if refused.class == RefusalClass::AppBroken {
                    note_broken_app(tx, &errand.app, &refused.code, now).await?;
                }
                let newest = tx.current_grant(errand.account.id).await?;
                let unchanged =
                    newest.is_some_and(|newest| newest.generation == errand.grant.generation);
                // A newer generation means that a sibling won meanwhile: then this refusal says nothing.
                if let (Some(standing), true) = (standing, unchanged) {
                    let target = (errand.account.id, None);
                    changes::edit_account(tx, &sealer, target, now, |account| {
                        account.standing = standing;
                        account.provider_code = refused.code;
                        account.provider_message = refused.words;
                    })
                    .await?;
                }
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        Ok(error)
    }

    fn meaning(&self, errand: &Errand, refused: &Refused) -> Error {
        let retry_after = refused.retry_after.unwrap_or(RETRY_AFTER);
        let link = || self.consent_link(&errand.account);
        match refused.class {
            RefusalClass::NeedsConsent => Error::NeedsConsent { link: link() },
            RefusalClass::NeedsInteraction => Error::NeedsInteraction { link: link() },
            RefusalClass::BlockedByPolicy => Error::BlockedByPolicy,
            RefusalClass::AppBroken => Error::AppRejected { app: errand.app.name.to_string() },
            RefusalClass::Throttled => Error::ProviderThrottled { retry_after },
            RefusalClass::Transient | RefusalClass::Ambiguous => {
                Error::ProviderUnavailable { retry_after }
            }
        }
    }

    /// The generation after `errand`'s; a provider that sent no new refresh token lets us keep the old one.
    fn next_grant(
        &self,
        errand: &Errand,
        generation: i64,
        refresh_token: &Secret,
    ) -> Result<Grant, Error> {
        let now = self.parts.clock.now();
        let id = GrantId::new(now, &self.parts.entropy);
        let place = places::refresh_token(id, errand.account.id, generation);
        Ok(Grant {
            id,
            account: errand.account.id,
            generation,
            parent: errand.grant.generation,
            refresh_token: Some(self.parts.sealer.seal(&place, refresh_token)?),
            received_at: now,
            proven: false,
        })
    }

    fn new_token(
        &self,
        errand: &Errand,
        generation: i64,
        secret: &Secret,
        issued: &Issued,
    ) -> Result<AccessToken, Error> {
        let scopes = issued.scopes.clone().unwrap_or_default();
        let purpose = (errand.account.id, errand.audience.as_str());
        self.sealed_token(purpose, generation, secret, (issued, scopes))
    }

    /// An access token, sealed for its row.
    pub(super) fn sealed_token(
        &self,
        (account, audience): (crate::domain::ids::AccountId, &str),
        generation: i64,
        secret: &Secret,
        (issued, scopes): (&Issued, Vec<String>),
    ) -> Result<AccessToken, Error> {
        let now = self.parts.clock.now();
        let id = TokenId::new(now, &self.parts.entropy);
        let place = places::access_token(id, (account, audience), generation);
        Ok(AccessToken {
            id,
            account,
            audience: audience.to_owned(),
            generation,
            sealed: self.parts.sealer.seal(&place, secret)?,
            token_type: issued.token_type.clone(),
            scopes,
            issued_at: now,
            expires_at: token::expiry(now, issued.expires_in),
            fingerprint: fingerprint(secret),
            rejected: false,
        })
    }

    fn refresh_event(&self, errand: &Errand, reason: i32) -> Event {
        Event {
            at: self.parts.clock.now(),
            what: What::Refresh,
            project: errand.account.project.to_string(),
            actor: "broker".to_owned(),
            account: errand.account.name.to_string(),
            subject: errand.app.name.to_string(),
            granted: reason == 0,
            reason,
            address: String::new(),
            detail: errand.audience.clone(),
        }
    }
}

/// Sealing fails only if the key is gone; inside a write there is one word for that.
pub(super) fn unsealed(error: Error) -> store::Error {
    tracing::error!(%error, "a token could not be sealed");
    store::Error::Refused { code: "not sealed".to_owned() }
}

async fn note_broken_app(tx: &mut Tx, app: &App, code: &str, now: Time) -> Stored<()> {
    if matches!(app.health, AppHealth::Rejected { .. }) {
        return Ok(());
    }
    tracing::error!(app = %app.name, code, "the provider refuses this app; its accounts wait");
    tx.set_app_health(app.id, &AppHealth::Rejected { since: now, code: code.to_owned() }).await
}

/// What a refusal means for the account; nothing, if the account is not to blame.
const fn standing_after(class: RefusalClass) -> Option<Standing> {
    match class {
        RefusalClass::NeedsConsent => Some(Standing::NeedsConsent),
        RefusalClass::NeedsInteraction => Some(Standing::NeedsInteraction),
        RefusalClass::BlockedByPolicy => Some(Standing::BlockedByPolicy),
        RefusalClass::AppBroken
        | RefusalClass::Throttled
        | RefusalClass::Transient
        | RefusalClass::Ambiguous => None,
    }
}
