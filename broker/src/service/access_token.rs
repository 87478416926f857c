//! Hands out an access token: find the account, ask for the right, look at the token at hand, refresh if it must be, record,
//! answer.
//!
//! Never answers before the decision is judged by the newest rights and its record durable (promises P1 and P3): `decide.rs`.
//! Invariant: whatever is handed out lives at least as long as asked, or says that it is stale. Next: `refresh.rs` for the
//! way to a new token, `grpc/tokens.rs` for the way out.

use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::account::Account;
use crate::domain::caller::{Caller, NotPermitted, UseAccount};
use crate::domain::event::{Event, What};
use crate::domain::grant::AccessToken;
use crate::domain::ids::ProjectId;
use crate::domain::refresh::{Urgency, schedule};
use crate::domain::secret::Secret;
use crate::domain::token;
use crate::memory::{Basis, Seen, Use};
use crate::service::lookup::AccountName;
use crate::service::pace::Turn;
use crate::service::{Error, Service, changes, places};
use crate::store::{Result as Stored, Tx};
use crate::telemetry::metrics;

/// How soon after a token was issued its rejection does not buy another: a resource that refuses a brand-new token would
/// refuse the next one too, and the provider counts the calls.
const REJECTION_FLOOR: Duration = Duration::from_secs(5);

/// Uses closer together than this are one.
const LEAST_GRAIN: Duration = Duration::from_secs(60);

/// What a caller wishes for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// The account's project.
    pub project: ProjectId,
    /// The account.
    pub account: AccountName,
    /// The target; empty means `mail`, or the one that `scopes` choose.
    pub audience: String,
    /// The scopes it has to grant.
    pub scopes: Vec<String>,
    /// The least remaining life, if the caller cares.
    pub min_ttl: Option<Duration>,
    /// SHA-256 of a token that the resource refused.
    pub rejected: Option<[u8; 32]>,
}

/// A token, handed out.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Whose it is.
    pub account: Seen<Account>,
    /// The provider's preset.
    pub provider: String,
    /// The token.
    pub secret: Secret,
    /// What is known of it.
    pub token: Seen<AccessToken>,
    /// Why a newer one could not be had, if this one is stale.
    pub stale_because: Option<i32>,
}

impl Service {
    /// Hands out a token as wished.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without a right, [`Error::Overtaken`] if rights changed meanwhile (then ask again, who calls
    /// too), else whatever stands between the account and a token.
    pub async fn access_token(
        &self,
        caller: &Seen<Caller>,
        wish: &TokenWish,
    ) -> Result<Granted, Error> {
        let mut basis = Basis::of(caller);
        let (outcome, turn) = match self.token_wished(caller, wish, &mut basis).await {
            Ok((granted, turn)) => (Ok(granted), Some(turn)),
            // The account went away meanwhile; who may not list accounts does not learn more than that.
            Err(Error::NotFound(_)) => (Err(Error::NotPermitted(NotPermitted)), None),
            Err(error) => (Err(error), None),
        };
        // A turn that is not spent is given back: nothing was handed out for it.
        self.decide(basis, self.token_event(caller, wish, &outcome), None).await?;
        turn.into_iter().for_each(Turn::spent);
        match &outcome {
            Ok(granted) => {
                let (token, now) = (&granted.token, self.parts.clock.now());
                metrics::token_granted(granted.stale_because.is_some());
                metrics::token_handed_out(token.issued_at.until(now), now.until(token.expires_at));
            }
            Err(error) => metrics::token_refused(error.reason_name()),
        }
        outcome
    }

    async fn token_wished(
        &self,
        caller: &Caller,
        wish: &TokenWish,
        basis: &mut Basis,
    ) -> Result<(Granted, Turn), Error> {
        caller.may_ask_for_tokens()?;
        let account =
            self.known_account(&wish.project, &wish.account).await?.ok_or(NotPermitted)?;
        basis.see(&account);
        // Before the right is known nothing of the account's app may show in the answer.
        let audience = match (wish.audience.as_str(), wish.scopes.as_slice()) {
            ("", []) => "mail".to_owned(),
            (audience, []) => audience.to_owned(),
            (_, _) if !caller.may_know(&account) => return Err(NotPermitted.into()),
            (_, scopes) => self.audience_for(&account, scopes, basis).await?,
        };
        let permit = caller.may_use(&account, &audience)?;
        self.check_scopes(&permit, &account, basis).await?;
        let turn = self.pace.claim(caller, &account, self.parts.clock.now())?;
        let (scopes, how) = (permit.scopes().clone(), (wish.min_ttl, wish.rejected));
        let granted = self.token(permit, &account, how, basis).await?;
        if !scopes.allows(&granted.token.scopes) {
            return Err(NotPermitted.into());
        }
        Ok((granted, turn))
    }

    /// A token under a permit: the one at hand if it will do, else a new one. What it looks at goes into `basis`.
    pub(super) async fn token(
        &self,
        permit: UseAccount,
        account: &Seen<Account>,
        (min_ttl, rejected): (Option<Duration>, Option<[u8; 32]>),
        basis: &mut Basis,
    ) -> Result<Granted, Error> {
        let audience = permit.audience();
        let app = self.known_app(account.app).await?;
        basis.see(&app);
        let provider = self.known_provider(&app, account)?;
        self.check_target(&provider, audience)?;
        self.check_standing(account)?;
        if app.app.disabled {
            return Err(Error::AppDisabled { app: app.app.name.to_string() });
        }
        let at_hand = self.token_at_hand(account, audience, rejected).await?;
        let now = self.parts.clock.now();
        let grant = |token: Seen<AccessToken>, stale_because| {
            self.open(account.clone(), app.app.preset.clone(), token, stale_because)
        };
        if let Some(token) = &at_hand {
            basis.see(token);
            self.note_use(account, token);
            let wanted = token::attainable(min_ttl, token.life())
                .ok_or(Error::MinTtlUnattainable { life: token.life() })?;
            if token::is_fresh(token, wanted, now) {
                return grant(token.clone(), None);
            }
            if token.rejected && token.issued_at.after(REJECTION_FLOOR) > now {
                let retry_after = now.until(token.issued_at.after(REJECTION_FLOOR));
                return Err(Error::ProviderUnavailable { retry_after });
            }
        }
        let since = self.memory.epoch();
        match self.refreshed(account, audience, at_hand.as_deref(), Urgency::Wanted).await {
            Ok(token) => match token::attainable(min_ttl, token.life()) {
                Some(_) => {
                    let token = self.memory.keep_token(token, since);
                    basis.see(&token);
                    self.note_use(account, &token);
                    grant(token, None)
                }
                None => Err(Error::MinTtlUnattainable { life: token.life() }),
            },
            Err(error) => match at_hand.filter(|token| token::is_alive(token, now)) {
                Some(token) if error.is_passing() => grant(token, Some(error.reason_number())),
                _ => Err(error),
            },
        }
    }

    /// Notes now and then that a token is asked for, so that the schedule keeps it warm. Failing that is no reason to refuse.
    fn note_use(&self, account: &Seen<Account>, token: &Seen<AccessToken>) {
        let now = self.parts.clock.now();
        let grain = (token.life() / 8).max(LEAST_GRAIN);
        if !token.is_to_be_noted(token.used_at, now, grain) {
            return;
        }
        let (id, audience) = (account.id, token.audience.clone());
        if schedule::is_warm(&token.bearer(), now) {
            return self.memory.note(Use::Token(id, audience, now));
        }
        let (service, account) = (self.clone(), account.clone());
        drop(self.parts.tasks.spawn(async move {
            let rescheduling = service.clone();
            let noted = service.write(move |tx| {
                Box::pin(async move {
                    tx.touch_access_token(id, &audience, now).await?;
                    rescheduling.reschedule(tx, &account).await
                })
            });
            if let Err(error) = noted.await {
                tracing::debug!(%error, "that a token is used was not noted");
            }
        }));
    }

    /// Says afresh when an account is due: it is asked for again, or has a new grant.
    pub(super) async fn reschedule(&self, tx: &mut Tx, account: &Account) -> Stored<()> {
        let Some(row) = tx.app(account.app).await? else { return Ok(()) };
        let app = changes::admit(&self.parts.sealer, row)?;
        let Ok(provider) = self.resolve_for(&app, account) else { return Ok(()) };
        let (ledger, _) = self.ledger(tx, account, None).await?;
        let due = schedule::due(&ledger, &self.rules_of(&provider), self.now());
        // Whoever holds the lease says when the account is due next.
        if ledger.held.is_some() {
            return Ok(());
        }
        tx.set_due(account.id, due.map(|(time, _)| time)).await
    }

    /// The token at hand, marked rejected if it is the one the caller complains of.
    async fn token_at_hand(
        &self,
        account: &Account,
        audience: &str,
        rejected: Option<[u8; 32]>,
    ) -> Result<Option<Seen<AccessToken>>, Error> {
        let Some(hash) = rejected else {
            return Ok(self.memory.token(account.id, audience).await?);
        };
        let found = self.memory.read_token(account.id, audience).await?;
        let Some(token) = found else { return Ok(None) };
        if token.rejected || !bool::from(token.fingerprint.as_slice().ct_eq(&hash)) {
            return Ok(Some(token));
        }
        let (id, audience) = (account.id, audience.to_owned());
        let since = self.memory.epoch();
        self.write(move |tx| {
            Box::pin(async move {
                // Every broker that remembers it is to look again.
                tx.ring(id);
                tx.reject_access_token(id, &audience, &hash).await
            })
        })
        .await?;
        let rejected = AccessToken { rejected: true, ..(*token).clone() };
        Ok(Some(self.memory.keep_token(rejected, since)))
    }

    fn open(
        &self,
        account: Seen<Account>,
        provider: String,
        token: Seen<AccessToken>,
        stale_because: Option<i32>,
    ) -> Result<Granted, Error> {
        // Of the account that was asked for, whatever the row says: a token that was hung on it does not open.
        let whose = (account.id, token.audience.as_str());
        let place = places::access_token(token.id, whose, token.generation);
        let secret = self.parts.sealer.open(&place, &token.sealed)?;
        Ok(Granted { account, provider, secret, token, stale_because })
    }

    fn token_event(
        &self,
        caller: &Caller,
        wish: &TokenWish,
        outcome: &Result<Granted, Error>,
    ) -> Event {
        let (account, detail) = match outcome {
            Ok(granted) => (granted.account.name.as_str(), granted.token.audience.as_str()),
            Err(_) => (wish.account.as_str(), wish.audience.as_str()),
        };
        Event {
            at: self.parts.clock.now(),
            what: What::Token,
            project: wish.project.to_string(),
            actor: caller.resource_name(),
            account: account.to_owned(),
            subject: String::new(),
            granted: outcome.is_ok(),
            reason: outcome.as_ref().err().map_or(0, Error::reason_number),
            address: String::new(),
            detail: detail.to_owned(),
        }
    }
}

/// How a token is recognised when a caller says that it was refused.
pub(super) fn fingerprint(token: &Secret) -> Vec<u8> {
    Sha256::digest(token.expose().as_bytes()).to_vec()
}
