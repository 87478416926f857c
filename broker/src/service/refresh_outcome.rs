//! What came of a refresh that worked: the answer, stored before it is used.
//!
//! Never drops an answer that is still wanted, however late it comes, and never stores one twice. Invariant: grant, token,
//! attempt, lease, schedule and audit record change in one transaction. Next: `access_token` hands out what was stored;
//! `refresh_refused` is the other end; `domain/refresh/keep.rs` decides.

use std::sync::Arc;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::{App, AppHealth};
use crate::domain::event::{Event, What};
use crate::domain::grant::{AccessToken, Grant};
use crate::domain::ids::{AccountId, GrantId, TokenId};
use crate::domain::provider::Issued;
use crate::domain::refresh::keep::{Brought, CarriedDoubts, Keeping, keep};
use crate::domain::refresh::{AppGate, schedule};
use crate::domain::refusal::RefusalClass;
use crate::domain::secret::Secret;
use crate::domain::token;
use crate::failpoint;
use crate::providers::client::TokenKind;
use crate::service::access_token::fingerprint;
use crate::service::refresh::{Ground, Spending};
use crate::service::{Error, Service, changes, places};
use crate::store::{self, Result as Stored, TurnEnd, Tx};

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is stored.
    Kept,
    /// Its grant is no longer ours: it goes back to the provider.
    GivenBack,
    /// A consent that came since has taken its place.
    Dropped,
}

impl Service {
    /// Stores what the provider handed out at `received`, as a new generation, before anyone uses it. False if the grant was
    /// given back or moved to another app meanwhile: then nothing is stored and the answer goes back too.
    pub(super) async fn keep(
        &self,
        ground: &Arc<Ground>,
        spending: &Spending,
        issued: &Issued,
        received: Time,
    ) -> Result<bool, Error> {
        let (service, of_job) = (self.clone(), Arc::clone(ground));
        let (spent, answer) = (spending.clone(), issued.clone());
        let fate = self
            .write(move |tx| {
                Box::pin(async move {
                    service.append_answer(tx, &of_job, (&spent, &answer), received).await
                })
            })
            .await?;
        if fate == Fate::GivenBack {
            let refresh_token =
                issued.refresh_token.clone().map(|token| (token, TokenKind::Refresh));
            let access_token = issued.access_token.clone().map(|token| (token, TokenKind::Access));
            self.give_back(&ground.app, &ground.provider, refresh_token.or(access_token)).await;
        }
        Ok(fate == Fate::Kept)
    }

    /// The write of [`keep`](Self::keep): the generation is numbered in the transaction, so a consent that finished
    /// meanwhile cannot make the answer fall between two stools.
    async fn append_answer(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        (spending, issued): (&Spending, &Issued),
        received: Time,
    ) -> Stored<Fate> {
        let (id, attempt) = (ground.account.id, spending.attempt.id);
        let account = match tx.account(id).await? {
            Some(row) => Some(changes::admit(&self.parts.sealer, row)?),
            None => None,
        };
        let wanted = |account: &Account| {
            account.app == ground.app.id && account.standing != Standing::Revoked
        };
        let Some(account) = account.filter(wanted) else {
            self.unwanted(tx, ground, spending).await?;
            return Ok(Fate::GivenBack);
        };
        let (ledger, grants) = self.ledger(tx, &account, Some(attempt)).await?;
        if is_of_an_older_consent(spending, &grants) {
            // Nor is it given back: with it some providers would take the consent that came since.
            self.unwanted(tx, ground, spending).await?;
            return Ok(Fate::Dropped);
        }
        // A commit that this broker was told had failed: the answer is stored, and must not be stored twice.
        if tx.is_open_attempt(attempt).await?.is_none() && !forgotten_by_a_test() {
            return Ok(Fate::Kept);
        }
        let life = issued.expires_in;
        let brought = Brought {
            refresh_token: issued.refresh_token.is_some(),
            grant_ends_at: issued.refresh_expires_in.map(|life| received.after(life)),
            expires_at: issued
                .access_token
                .as_ref()
                .map(|_| token::expiry(spending.attempt.started_at, life)),
        };
        let keeping = keep(&ledger, &spending.spend, &brought, (&ground.rules, received));
        let (grant, token) = self.sealed_answer((spending, &grants), issued, &keeping)?;
        tx.prove_grant(id, spending.spend.generation).await?;
        tx.append_grant(&grant).await?;
        if let Some(token) = &token {
            tx.put_access_token(token).await?;
        }
        tx.forget_attempt(attempt).await?;
        self.carry_doubts(tx, spending, &keeping).await?;
        let end = self.turn_after(&keeping, token.is_some(), ledger.failures, received);
        tx.end_turn(id, (&self.parts.replica, spending.fence), &end).await?;
        if let Some(standing) = keeping.standing {
            self.restand(tx, &account, standing, ("", "")).await?;
        }
        if token.is_some() {
            self.open_app(tx, ground, (ledger.app, keeping.app)).await?;
        }
        tx.append_audit(self.refresh_event(ground, spending, 0)).await?;
        tx.ring(id);
        failpoint::reach("refresh.sealed");
        Ok(Fate::Kept)
    }

    /// A token that is carried over is still the same token, and so are the doubts about it.
    async fn carry_doubts(
        &self,
        tx: &mut Tx,
        spending: &Spending,
        keeping: &Keeping,
    ) -> Stored<()> {
        let since = match keeping.doubts {
            CarriedDoubts::None => return Ok(()),
            CarriedDoubts::Later => spending.attempt.started_at,
            CarriedDoubts::All => Time::from_millis(0),
        };
        let numbers = (keeping.generation.parent, keeping.generation.number);
        tx.move_doubts(spending.attempt.account, numbers, since).await
    }

    /// An answer that holds a new refresh token and no access token is kept, and counts as a failure all the same.
    fn turn_after(
        &self,
        keeping: &Keeping,
        worked: bool,
        failures: u32,
        received: Time,
    ) -> TurnEnd {
        let mut dice = self.parts.entropy.clone();
        let failures = if worked { 0 } else { failures.saturating_add(1) };
        let again = schedule::retry(failures, None, received, &mut dice);
        TurnEnd {
            failures,
            not_before: if worked { Time::from_millis(0) } else { again },
            due_at: if worked { keeping.due_at } else { Some(again) },
            class: if worked { String::new() } else { RefusalClass::Ambiguous.as_str().to_owned() },
            code: if worked { String::new() } else { "no_token".to_owned() },
            refreshed_at: worked.then_some(received),
        }
    }

    async fn unwanted(&self, tx: &mut Tx, ground: &Ground, spending: &Spending) -> Stored<()> {
        tx.end_attempt(spending.attempt.id, self.now(), "unwanted", "").await?;
        let error = Error::NeedsConsent { link: self.consent_link(&ground.account) };
        let event = self.refresh_event(ground, spending, error.reason_number());
        tx.append_audit(event).await.map(drop)
    }

    /// The app works: whatever kept it shut is over.
    async fn open_app(
        &self,
        tx: &mut Tx,
        ground: &Ground,
        (gate, after): (AppGate, Option<AppGate>),
    ) -> Stored<()> {
        if let Some(after) = after {
            tx.set_app_gate(ground.app.id, after).await?;
        }
        if matches!(gate, AppGate::Rejected { .. }) {
            tracing::info!(app = %ground.app.name, "the provider takes this app again; its accounts go on");
            tx.append_audit(self.health_event(&ground.app, true)).await?;
        }
        if matches!(gate, AppGate::Rejected { .. }) || ground.app.health != AppHealth::Accepted {
            tx.set_app_health(ground.app.id, &AppHealth::Accepted).await?;
        }
        Ok(())
    }

    /// Changes how the provider sees an account, with the provider's words for people, and records it.
    pub(super) async fn restand(
        &self,
        tx: &mut Tx,
        account: &Account,
        standing: Standing,
        (code, words): (&str, &str),
    ) -> Stored<()> {
        let (code, words) = (code.to_owned(), words.to_owned());
        changes::edit_account(tx, &self.parts.sealer, (account.id, None), self.now(), |account| {
            account.standing = standing;
            account.provider_code = code;
            account.provider_message = words;
        })
        .await?;
        let event = self.of_broker(What::AccountStanding, account, standing.as_str());
        tx.append_audit(Event { granted: standing == Standing::Active, ..event }).await.map(drop)
    }

    /// Grant and token of an answer, sealed for their rows. Without a refresh token in it the spent one is carried over.
    fn sealed_answer(
        &self,
        (spending, grants): (&Spending, &[Grant]),
        issued: &Issued,
        keeping: &Keeping,
    ) -> Stored<(Grant, Option<AccessToken>)> {
        let (account, number) = (spending.attempt.account, keeping.generation.number);
        let refresh_token = match &issued.refresh_token {
            Some(token) => Some(token.clone()),
            None => {
                let source = grants.iter().find(|it| it.generation == keeping.generation.parent);
                let source = source.unwrap_or(&spending.grant);
                self.refresh_token_of(source).map_err(unsealed)?
            }
        };
        let id = GrantId::new(self.now(), &self.parts.entropy);
        let place = places::refresh_token(id, account, number);
        let seal = |token: &Secret| self.parts.sealer.seal(&place, token).map_err(Error::from);
        let grant = Grant {
            id,
            account,
            generation: number,
            parent: keeping.generation.parent,
            refresh_token: refresh_token.as_ref().map(seal).transpose().map_err(unsealed)?,
            received_at: keeping.generation.received_at,
            proven: false,
            ends_at: keeping.generation.ends_at,
            carried: keeping.generation.carried,
            refusals: 0,
        };
        let purpose = (account, spending.spend.audience.as_str());
        let scopes = issued.scopes.clone().unwrap_or_default();
        // Its life counts from when it was asked for: it began no earlier.
        let received = spending.attempt.started_at;
        let token = issued.access_token.as_ref().map(|secret| {
            self.sealed_token(purpose, (number, received), secret, (issued, scopes.clone()))
        });
        Ok((grant, token.transpose().map_err(unsealed)?))
    }

    /// An access token that came at `received`, sealed for its row.
    pub(super) fn sealed_token(
        &self,
        (account, audience): (AccountId, &str),
        (generation, received): (i64, Time),
        secret: &Secret,
        (issued, scopes): (&Issued, Vec<String>),
    ) -> Result<AccessToken, Error> {
        let id = TokenId::new(received, &self.parts.entropy);
        let place = places::access_token(id, (account, audience), generation);
        Ok(AccessToken {
            id,
            account,
            audience: audience.to_owned(),
            generation,
            sealed: self.parts.sealer.seal(&place, secret)?,
            token_type: issued.token_type.clone(),
            scopes,
            issued_at: received,
            expires_at: token::expiry(received, issued.expires_in),
            fingerprint: fingerprint(secret),
            rejected: false,
            used_at: None,
        })
    }

    pub(super) fn refresh_event(&self, ground: &Ground, spending: &Spending, reason: i32) -> Event {
        let event = self.of_broker(What::Refresh, &ground.account, &spending.spend.audience);
        Event { subject: ground.app.name.to_string(), granted: reason == 0, reason, ..event }
    }

    pub(super) fn health_event(&self, app: &App, accepted: bool) -> Event {
        let error = Error::AppRejected { app: app.name.to_string() };
        Event {
            at: self.now(),
            what: What::AppHealth,
            project: app.project.to_string(),
            actor: "broker".to_owned(),
            account: String::new(),
            subject: app.name.to_string(),
            granted: accepted,
            reason: if accepted { 0 } else { error.reason_number() },
            address: String::new(),
            detail: String::new(),
        }
    }

    /// An audit record of what the broker itself found about an account.
    pub(super) fn of_broker(&self, what: What, account: &Account, detail: &str) -> Event {
        Event {
            at: self.now(),
            what,
            project: account.project.to_string(),
            actor: "broker".to_owned(),
            account: account.name.to_string(),
            subject: String::new(),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: detail.to_owned(),
        }
    }
}

/// Sealing fails only if the key is gone; inside a write there is one word for that.
pub(super) fn unsealed(error: Error) -> store::Error {
    tracing::error!(%error, "a token could not be sealed");
    store::Error::Refused { code: "not sealed".to_owned() }
}

/// Whether the owner has consented anew since the token was spent, after the account had been given back. A spent generation
/// that is missing because newer ones have pruned it is another matter: its late answer may be the only token that lives.
fn is_of_an_older_consent(spending: &Spending, grants: &[Grant]) -> bool {
    let known = grants.iter().any(|grant| grant.id == spending.grant.id);
    let since = spending.attempt.started_at;
    let anew = |grant: &Grant| grant.parent == 0 && grant.received_at >= since;
    !known && (grants.is_empty() || grants.iter().any(anew))
}

/// The test switches that leave out a step leave no attempt behind either.
fn forgotten_by_a_test() -> bool {
    failpoint::skips("refresh.intent") || failpoint::skips("refresh.store_first")
}
