//! The single path to a new access token: drives the walk of `domain/refresh/flight.rs` over the real store and provider.
//!
//! Never runs inside a caller's future: it is a detached task, and callers wait for its end with their own deadlines. It
//! decides nothing: what may be spent, what a refusal means and when the next is due is the domain's. Invariants: one flight
//! per account in this process, one lease among all; the intent is durable before a refresh token is spent; what the provider
//! hands out is durable before anyone uses it. Next: `refresh_begin` writes the intent, `refresh_outcome` what came of it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::App;
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::ids::AccountId;
use crate::domain::provider::Issued;
use crate::domain::refresh::admit::{Spend, Why};
use crate::domain::refresh::flight::{Effect, Event, Flight as Walk, Outcome};
use crate::domain::refresh::settle::Settlement;
use crate::domain::refresh::{Demand, Dice, Rules, Urgency};
use crate::domain::refusal::{Reached, RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::entropy::Entropy;
use crate::failpoint;
use crate::providers::client::ClientAuth;
use crate::providers::resolved::Resolved;
use crate::service::flights::{Boarding, Flight};
use crate::service::gates::{Entry, Pass};
use crate::service::{Error, Service, places};
use crate::telemetry::metrics;

/// How long a refresh waits for another broker that is at the same account, and for room at app and endpoint.
const PATIENCE: Duration = Duration::from_secs(15);

/// How soon a caller is told to come again when somebody else is still at it.
const SOON: Duration = Duration::from_secs(1);

/// What does not change while a refresh is under way.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) account: Account,
    pub(super) app: App,
    pub(super) provider: Resolved,
    pub(super) auth: ClientAuth,
    pub(super) rules: Rules,
}

/// A refresh token that is being spent.
#[derive(Clone, Debug)]
pub(super) struct Spending {
    pub(super) spend: Spend,
    pub(super) attempt: Attempt,
    pub(super) fence: i64,
    pub(super) grant: Grant,
    /// The token, opened; absent once it was spent before a restart.
    pub(super) spent: Option<Secret>,
}

/// What a refresh holds between two steps.
#[derive(Debug)]
struct Trip {
    ground: std::sync::Arc<Ground>,
    demand: Demand,
    pass: Option<Pass>,
    spending: Option<Spending>,
    issued: Option<Issued>,
    spilled: bool,
    refused: Option<(Refused, Option<Settlement>)>,
}

/// Where a refresh landed: the audience it was for, and what came of it.
type Landed = (String, Result<AccessToken, Error>);

impl Service {
    /// A token newer than `than`, bought by this call or by whoever is buying one already.
    pub(super) async fn refreshed(
        &self,
        account: &Account,
        audience: &str,
        than: Option<&AccessToken>,
        urgency: Urgency,
    ) -> Result<AccessToken, Error> {
        loop {
            match self.flights.board(account.id) {
                Boarding::Pilot(flight) => {
                    let demand = Demand {
                        audience: Some(audience.to_owned()),
                        newer_than: Some(than.map_or(0, |than| than.generation)),
                        urgency,
                    };
                    return self.fly(flight, account.id, demand).await.1;
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

    /// Flies to the end, whoever still waits for it.
    pub(super) async fn fly(&self, flight: Flight, account: AccountId, demand: Demand) -> Landed {
        let service = self.clone();
        let flying = self.parts.tasks.spawn(async move {
            let landed = service.walk(account, demand).await;
            flight.land(landed.0.clone(), landed.1.clone());
            landed
        });
        flying.await.unwrap_or_else(|lost| (String::new(), Err(Error::ours(lost))))
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

    async fn walk(&self, account: AccountId, demand: Demand) -> Landed {
        let audience = demand.audience.clone().unwrap_or_default();
        let ground = match self.survey(account, demand.urgency).await {
            Ok(ground) => std::sync::Arc::new(ground),
            Err(error) => return (audience, Err(error)),
        };
        let mut trip = Trip {
            ground,
            demand,
            pass: None,
            spending: None,
            issued: None,
            spilled: false,
            refused: None,
        };
        let mut dice = self.parts.entropy.clone();
        let mut walk = Walk::new(trip.demand.urgency, self.now().after(PATIENCE));
        let mut steps = VecDeque::from(walk.step(Event::Start, self.now(), &mut dice));
        let mut lost = None;
        while let Some(effect) = steps.pop_front() {
            let event = match effect {
                Effect::Land(outcome) => {
                    let audience = trip.audience();
                    return (audience, self.outcome_of(trip, outcome, lost).await);
                }
                Effect::Spill => {
                    self.spill_answer(&mut trip).await;
                    continue;
                }
                effect => self.act(effect, &mut trip, &mut lost).await,
            };
            steps.extend(walk.step(event, self.now(), &mut dice));
        }
        (trip.audience(), Err(Error::ours("a refresh lost its way")))
    }

    /// Does what the walk wants next and comes back with what happened.
    async fn act(&self, effect: Effect, trip: &mut Trip, lost: &mut Option<Error>) -> Event {
        match effect {
            Effect::Enter => self.enter(trip),
            Effect::Begin => {
                failpoint::reach("refresh.begin");
                match self.begin(&trip.ground, &trip.demand).await {
                    Ok((admission, spending)) => {
                        trip.spending = spending;
                        failpoint::reach("refresh.intended");
                        Event::Begun(admission)
                    }
                    Err(error) => {
                        *lost = Some(error);
                        Event::NotBegun
                    }
                }
            }
            Effect::Ask(_) => self.ask(trip).await,
            Effect::Keep => self.keep_answer(trip, lost).await,
            Effect::Note => self.note_refusal(trip, lost).await,
            Effect::Sleep(span) => self.nap(trip, span).await,
            Effect::Spill | Effect::Land(_) => Event::Stop,
        }
    }

    /// Reads what the refresh stands on, afresh: nothing of ours may stand in its way after the intent is written.
    async fn survey(&self, id: AccountId, urgency: Urgency) -> Result<Ground, Error> {
        let mut conn = self.read().await?;
        let account = self.account_on(&mut conn, id).await?;
        if urgency == Urgency::Wanted {
            self.check_standing(&account)?;
        }
        let app = self.app_on(&mut conn, account.app).await?;
        if app.disabled {
            return Err(Error::AppDisabled { app: app.name.to_string() });
        }
        let provider = self.resolve_for(&app, &account)?;
        let auth = self.client_auth_on(&mut conn, &app).await?;
        let rules = self.rules_of(&provider);
        Ok(Ground { account, app, provider, auth, rules })
    }

    /// What holds for refreshes at a provider.
    pub(super) fn rules_of(&self, provider: &Resolved) -> Rules {
        let settings = &self.parts.refresh;
        Rules {
            rotation: provider.refresh.rotation,
            grace: Duration::from_secs(provider.refresh.grace_s.into()),
            idle: provider.refresh.idle_s.map(Duration::from_secs),
            confirm_after: settings.confirm_after,
            lease: settings.lease,
        }
    }

    fn enter(&self, trip: &mut Trip) -> Event {
        let Ground { app, provider, .. } = &*trip.ground;
        match self.gates.enter(&provider.urls.token, app.id, trip.demand.urgency, self.now()) {
            Entry::Passed(pass) => {
                trip.pass = Some(pass);
                Event::Entered
            }
            Entry::Full(wait) => Event::Full(wait),
            Entry::Shut(left) => Event::Shut(left),
        }
    }

    async fn ask(&self, trip: &mut Trip) -> Event {
        let Some(spending) = &trip.spending else { return Event::Stop };
        let Some(spent) = &spending.spent else { return Event::Stop };
        let ground = std::sync::Arc::clone(&trip.ground);
        let audience = spending.spend.audience.clone();
        let began = Instant::now();
        let answer =
            self.parts.providers.refresh(&ground.provider, &ground.auth, spent, &audience).await;
        failpoint::reach("refresh.answered");
        let class = answer.as_ref().err().map_or("renewed", |refused| refused.class.as_str());
        metrics::refreshed(class, began.elapsed());
        match answer {
            Ok(issued) => {
                self.report(trip, true);
                trip.issued = Some(issued);
                Event::Answered
            }
            Err(refused) => {
                let away = refused.reached != Reached::Answered
                    || refused.class == RefusalClass::Transient;
                self.report(trip, !away);
                let event = Event::Refused(refused.class, refused.reached);
                trip.refused = Some((refused, None));
                event
            }
        }
    }

    fn report(&self, trip: &mut Trip, answered: bool) {
        let mut dice = self.parts.entropy.clone();
        match trip.pass.take() {
            Some(pass) => pass.report(answered, self.now(), &mut dice),
            // Asked again at once: there was no door to pass, but the call counts.
            None => self.gates.charge(trip.ground.app.id, self.now()),
        }
    }

    async fn keep_answer(&self, trip: &mut Trip, lost: &mut Option<Error>) -> Event {
        let (Some(spending), Some(issued)) = (&trip.spending, &trip.issued) else {
            return Event::Unwanted;
        };
        if failpoint::skips("refresh.store_first") {
            // The test switch: the attempt counts as done before the answer is stored.
            let attempt = spending.attempt.id;
            drop(
                self.write(move |tx| Box::pin(async move { tx.forget_attempt(attempt).await }))
                    .await,
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        match self.keep(&trip.ground, spending, issued, self.now()).await {
            Ok(wanted) => {
                failpoint::reach("refresh.kept");
                if trip.spilled {
                    self.unspill(spending.attempt.id).await;
                }
                self.parts.bell.ring(trip.ground.account.id);
                if wanted { Event::Kept } else { Event::Unwanted }
            }
            Err(error) => {
                tracing::error!(account = %trip.ground.account.name, %error,
                    "what a provider handed out could not be stored yet; trying again");
                *lost = Some(error);
                Event::NotKept
            }
        }
    }

    async fn spill_answer(&self, trip: &mut Trip) {
        let (Some(spending), Some(issued)) = (&trip.spending, &trip.issued) else { return };
        match self.spill(trip.ground.account.id, spending, issued).await {
            Ok(()) => trip.spilled = true,
            Err(error) => tracing::error!(account = %trip.ground.account.name, %error,
                "and could not be written to a spill file; only memory has it"),
        }
    }

    async fn note_refusal(&self, trip: &mut Trip, lost: &mut Option<Error>) -> Event {
        let (Some(spending), Some((refused, settled))) = (&trip.spending, &mut trip.refused) else {
            return Event::NotNoted;
        };
        match self.note(&trip.ground, spending, refused).await {
            Ok(settlement) => {
                failpoint::reach("refresh.noted");
                let again = settlement.again;
                *settled = Some(settlement);
                self.parts.bell.ring(trip.ground.account.id);
                Event::Noted { again }
            }
            Err(error) => {
                *lost = Some(error);
                Event::NotNoted
            }
        }
    }

    /// Sleeps until the span is over, somebody rings for this account, or the broker stops.
    async fn nap(&self, trip: &Trip, span: Duration) -> Event {
        let began = Instant::now();
        let stopping = self.parts.tasks.stopping();
        let event = tokio::select! {
            () = tokio::time::sleep(span) => Event::Woke,
            () = self.parts.bell.rung_for(trip.ground.account.id) => Event::Woke,
            // An answer that neither store nor spill file has is not let go of.
            () = stopping, if trip.issued.is_none() || trip.spilled => Event::Stop,
        };
        metrics::lease_waited(began.elapsed());
        event
    }

    async fn outcome_of(
        &self,
        trip: Trip,
        outcome: Outcome,
        lost: Option<Error>,
    ) -> Result<AccessToken, Error> {
        let (audience, than) = (trip.audience(), trip.demand.newer_than);
        let error = match outcome {
            Outcome::Renewed => Error::RefreshInProgress,
            _ => self.meaning(&trip, &outcome, lost),
        };
        // Whatever happened to this one: somebody may have brought a newer token meanwhile.
        let (mut conn, account) = (self.read().await?, trip.ground.account.id);
        let token = conn.access_token(account, &audience).await?;
        let newer = token
            .filter(|token| !token.rejected && than.is_some_and(|than| token.generation > than));
        match (newer, outcome) {
            (_, Outcome::Unwanted) => {
                self.check_standing(&self.account_on(&mut conn, account).await?)?;
                Err(error)
            }
            (Some(token), Outcome::Renewed | Outcome::Refused | Outcome::Busy) => {
                self.check_standing(&self.account_on(&mut conn, account).await?)?;
                Ok(token)
            }
            (_, Outcome::Renewed) => {
                self.check_standing(&self.account_on(&mut conn, account).await?)?;
                Err(Error::ProviderUnavailable { retry_after: SOON })
            }
            _ => Err(error),
        }
    }

    fn meaning(&self, trip: &Trip, outcome: &Outcome, lost: Option<Error>) -> Error {
        let now = self.now();
        let away = |retry_after| Error::ProviderUnavailable { retry_after };
        match outcome {
            Outcome::Refused => match &trip.refused {
                Some((refused, Some(settled))) => self.refusal(&trip.ground, refused, settled, now),
                _ => away(SOON),
            },
            Outcome::NotYet(until, why) => {
                let retry_after = now.until(*until).max(SOON);
                match why {
                    Why::AppRejected => {
                        Error::AppRejected { app: trip.ground.app.name.to_string() }
                    }
                    Why::AppThrottled => Error::ProviderThrottled { retry_after },
                    Why::Suspected | Why::Failed | Why::InDoubt => away(retry_after),
                }
            }
            Outcome::Locked => {
                self.check_standing(&trip.ground.account).err().unwrap_or(Error::RefreshInProgress)
            }
            Outcome::Dead => Error::NeedsConsent { link: self.consent_link(&trip.ground.account) },
            Outcome::NoRoom(wait) => Error::ProviderThrottled { retry_after: *wait },
            Outcome::Shut(left) => away((*left).max(SOON)),
            Outcome::StoreAway => lost.unwrap_or(Error::RefreshInProgress),
            Outcome::Renewed | Outcome::Unwanted | Outcome::Rest | Outcome::Busy => {
                Error::RefreshInProgress
            }
        }
    }

    fn refusal(
        &self,
        ground: &Ground,
        refused: &Refused,
        settled: &Settlement,
        now: Time,
    ) -> Error {
        let link = || self.consent_link(&ground.account);
        let retry_after = now.until(settled.not_before).max(SOON);
        match (settled.standing, refused.class) {
            (Some(Standing::NeedsConsent), _) => Error::NeedsConsent { link: link() },
            (Some(Standing::NeedsInteraction), _) => Error::NeedsInteraction { link: link() },
            (Some(Standing::BlockedByPolicy), _) => Error::BlockedByPolicy,
            (_, RefusalClass::AppBroken) => Error::AppRejected { app: ground.app.name.to_string() },
            (_, RefusalClass::Throttled) => {
                let asked = refused.retry_after.unwrap_or(retry_after);
                Error::ProviderThrottled { retry_after: asked }
            }
            _ => Error::ProviderUnavailable { retry_after },
        }
    }

    /// The refresh token of a generation, opened.
    pub(super) fn refresh_token_of(&self, grant: &Grant) -> Result<Option<Secret>, Error> {
        let Some(sealed) = &grant.refresh_token else { return Ok(None) };
        let place = places::refresh_token(grant.id, grant.account, grant.generation);
        Ok(Some(self.parts.sealer.open(&place, sealed)?))
    }

    pub(super) fn now(&self) -> Time {
        self.parts.clock.now()
    }
}

impl Trip {
    fn audience(&self) -> String {
        let spent = self.spending.as_ref().map(|spending| spending.spend.audience.clone());
        spent.or_else(|| self.demand.audience.clone()).unwrap_or_default()
    }
}

impl Dice for Entropy {
    fn roll(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }
}

fn is_newer(token: &AccessToken, than: Option<&AccessToken>) -> bool {
    !token.rejected && than.is_none_or(|than| token.generation > than.generation)
}
