//! The single path to a new access token: join, write the intent, ask, store first, judge, answer.
//!
//! Never runs inside a caller's future: it is a detached task, and callers wait for its end with their own deadlines.
//! Invariants: one refresh per account at a time; the intent is durable before the refresh token is spent; what the provider
//! hands out is durable before anyone uses it; an outage or a broken app changes no account (design section 7).
//! Next: `refresh_outcome` writes what came of it; leases between replicas belong between `board` and `prepare`.

use tokio::time::Instant;

use crate::domain::account::{Account, Standing};
use crate::domain::app::App;
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::ids::AttemptId;
use crate::domain::secret::Secret;
use crate::providers::client::ClientAuth;
use crate::providers::resolved::Resolved;
use crate::service::flights::Boarding;
use crate::service::{Error, Service, places};
use crate::telemetry::metrics;

/// A refresh under way: what it spends, and for what.
pub(super) struct Errand {
    pub(super) account: Account,
    pub(super) app: App,
    pub(super) audience: String,
    pub(super) grant: Grant,
    pub(super) attempt: Attempt,
    pub(super) provider: Resolved,
    pub(super) auth: ClientAuth,
    pub(super) spent: Secret,
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
}

fn is_newer(token: &AccessToken, than: Option<&AccessToken>) -> bool {
    !token.rejected && than.is_none_or(|than| token.generation > than.generation)
}
