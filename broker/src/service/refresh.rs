//! The single path to a new access token: join, write the intent, ask, store first, judge, answer.
//!
//! Never runs inside a caller's future: it is a detached task, and callers wait for its end with their own deadlines.
//! Invariants: one refresh per account at a time; the intent is durable before the refresh token is spent; what the provider
//! hands out is durable before anyone uses it; an outage or a broken app changes no account (design section 7).
//! Next: `outcome` below writes what came of it; leases between replicas belong between `board` and `begin`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::account::{Account, Standing};
use crate::domain::app::{App, AppHealth};
use crate::domain::event::{Event, What};
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::ids::{AttemptId, GrantId, TokenId};
use crate::domain::provider::Issued;
use crate::domain::refusal::{RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::domain::token;
use crate::providers::client::{ClientAuth, TokenKind};
use crate::providers::resolved::Resolved;
use crate::service::access_token::fingerprint;
use crate::service::flights::Boarding;
use crate::service::{Error, Service, changes, places};
use crate::store::{self, Result as Stored, Tx};
use crate::telemetry::metrics;

/// How long a caller is told to wait when the provider did not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A refresh under way: what it spends, and for what.
struct Errand {
    account: Account,
    app: App,
    audience: String,
    grant: Grant,
    attempt: Attempt,
    provider: Resolved,
    auth: ClientAuth,
    spent: Secret,
}

impl Service {
    /// A token newer than `than`, bought by this call or by whoever is buying one already.
    pub(super) async fn refreshed(
        &self,
        account: &Account,
        audience: &str,
        than: Option<&AccessToken>,
    ) -> Result<AccessToken, Error> {
        loop {
            match self.flights.board(account.id) {
                Boarding::Pilot(flight) => {
                    let (service, account) = (self.clone(), account.clone());
                    let (audience, than) = (audience.to_owned(), than.cloned());
                    return self
                        .detached(async move {
                            let outcome = service.refresh(&account, &audience, than.as_ref()).await;
                            flight.land(audience, outcome.clone());
                            outcome
                        })
                        .await;
                }
                Boarding::Passenger(landing) => match landing.wait().await {
                    Some((theirs, Ok(token))) if theirs == audience && is_newer(&token, than) => {
                        return Ok(token);
                    }
                    Some((theirs, Err(error))) if theirs == audience => return Err(error),
                    // It was for another audience, brought what this caller has already, or was lost: look again.
                    _ => {}
                },
            }
        }
    }

    /// Refuses an account that cannot have a token, without a call to the provider.
    pub(super) fn check_standing(&self, account: &Account) -> Result<(), Error> {
        if account.disabled {
            return Err(Error::AccountDisabled("switched off"));
        }
        match account.standing {
            Standing::Active => Ok(()),
            Standing::Pending => Err(Error::AccountDisabled("waiting for its first consent")),
            Standing::Revoked => Err(Error::NeedsConsent { link: self.consent_link(account) }),
            Standing::NeedsConsent => Err(Error::NeedsConsent { link: self.consent_link(account) }),
            Standing::NeedsInteraction => {
                Err(Error::NeedsInteraction { link: self.consent_link(account) })
            }
            Standing::BlockedByPolicy => Err(Error::BlockedByPolicy),
        }
    }

    async fn refresh(
        &self,
        account: &Account,
        audience: &str,
        than: Option<&AccessToken>,
    ) -> Result<AccessToken, Error> {
        // Somebody may have landed between our look and our boarding.
        let now = self.read().await?.access_token(account.id, audience).await?;
        if let Some(token) = now.filter(|token| is_newer(token, than)) {
            return Ok(token);
        }
        let errand = self.prepare(account, audience).await?;
        let intent = errand.attempt.clone();
        self.write(move |tx| Box::pin(async move { tx.begin_attempt(&intent).await })).await?;
        let (began, Errand { provider, auth, spent, .. }) = (Instant::now(), &errand);
        let answer = self.parts.providers.refresh(provider, auth, spent, audience).await;
        let class = answer.as_ref().err().map_or("renewed", |refused| refused.class.as_str());
        metrics::refreshed(class, began.elapsed());
        match answer {
            Ok(issued) => self.keep(errand, issued).await,
            Err(refused) => Err(self.note(errand, refused).await?),
        }
    }

    /// Reads afresh all that the refresh needs: after the intent is written nothing of ours may stand in its way.
    async fn prepare(&self, account: &Account, audience: &str) -> Result<Errand, Error> {
        let account = self.account(account.id).await?;
        self.check_standing(&account)?;
        let app = self.app(account.app).await?;
        if app.disabled {
            return Err(Error::AppDisabled { app: app.name.to_string() });
        }
        let grant = self.read().await?.current_grant(account.id).await?;
        let no_grant = || Error::NeedsConsent { link: self.consent_link(&account) };
        let grant = grant.ok_or_else(no_grant)?;
        let spent = self.refresh_token_of(&grant)?.ok_or_else(no_grant)?;
        let provider = self.resolve_for(&app, &account)?;
        let auth = self.client_auth(&app).await?;
        let now = self.parts.clock.now();
        let attempt = Attempt {
            id: AttemptId::new(now, &self.parts.entropy),
            account: account.id,
            audience: audience.to_owned(),
            generation: grant.generation,
            owner: self.parts.replica.clone(),
            started_at: now,
            ended_at: None,
            outcome: String::new(),
            code: String::new(),
        };
        let audience = audience.to_owned();
        Ok(Errand { account, app, audience, grant, attempt, provider, auth, spent })
    }

    /// The refresh token of a generation, opened.
    pub(super) fn refresh_token_of(&self, grant: &Grant) -> Result<Option<Secret>, Error> {
        let Some(sealed) = &grant.refresh_token else { return Ok(None) };
        let place = places::refresh_token(grant.id, grant.account, grant.generation);
        Ok(Some(self.parts.sealer.open(&place, sealed)?))
    }

    /// Stores what the provider handed out, as a new generation, before anyone uses it. If the grant was given back or
    /// moved to another app meanwhile, nothing is stored and the answer goes back too.
    async fn keep(&self, errand: Errand, issued: Issued) -> Result<AccessToken, Error> {
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
    async fn note(&self, errand: Errand, refused: Refused) -> Result<Error, Error> {
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

/// What became of an answer.
enum Kept {
    /// It is stored; this is the account as it stands now.
    Appended(Box<Account>, Option<Box<AccessToken>>),
    /// The grant it belongs to is no longer ours.
    Unwanted,
}

/// Sealing fails only if the key is gone; inside a write there is one word for that.
pub(super) fn unsealed(error: Error) -> store::Error {
    tracing::error!(%error, "a token could not be sealed");
    store::Error::Refused { code: "not sealed".to_owned() }
}

async fn note_broken_app(
    tx: &mut Tx,
    app: &App,
    code: &str,
    now: crate::clock::Time,
) -> Stored<()> {
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

fn is_newer(token: &AccessToken, than: Option<&AccessToken>) -> bool {
    !token.rejected && than.is_none_or(|than| token.generation > than.generation)
}
