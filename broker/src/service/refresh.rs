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
use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::ids::AccountId;
use crate::domain::provider::Issued;
use crate::domain::refresh::admit::Spend;
use crate::domain::refresh::flight::{Effect, Event, Flight as Walk};
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
use crate::service::refresh_landing::check_switch;
use crate::service::{Error, Service, places};
use crate::telemetry::metrics;

/// How long a refresh waits for another broker that is at the same account, and for room at app and endpoint.
const PATIENCE: Duration = Duration::from_secs(15);

/// How soon a caller is told to come again when somebody else is still at it.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Writing the intent may take this long: lease and request deadline differ by as much.
const BEGUN_LATE: Duration = Duration::from_secs(4);

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
pub(super) struct Trip {
    pub(super) ground: std::sync::Arc<Ground>,
    pub(super) demand: Demand,
    pass: Option<Pass>,
    spending: Option<Spending>,
    issued: Option<Issued>,
    spilled: bool,
    waited: bool,
    pub(super) refused: Option<(Refused, Option<Settlement>)>,
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
        let _outside = self.entrance.step_out();
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
            waited: false,
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
            Effect::Begin => self.begin_trip(trip, lost).await,
            Effect::Ask(_) => self.ask(trip).await,
            Effect::Keep => self.keep_answer(trip, lost).await,
            Effect::Note => self.note_refusal(trip, lost).await,
            Effect::Sleep(span) => {
                trip.waited = true;
                self.nap(trip, span).await
            }
            Effect::Spill | Effect::Land(_) => Event::Stop,
        }
    }

    /// Decides and writes the intent; what was written too slowly is not acted on, since the lease may be over before the answer
    /// comes.
    async fn begin_trip(&self, trip: &mut Trip, lost: &mut Option<Error>) -> Event {
        failpoint::reach("refresh.begin");
        if trip.waited
            && let Some(admission) = self.look(&trip.ground, &trip.demand).await
        {
            return Event::Begun(admission);
        }
        let began = Instant::now();
        match self.begin(&trip.ground, &trip.demand).await {
            Ok((_, Some(spending))) if began.elapsed() > BEGUN_LATE => {
                self.give_up(&spending).await;
                Event::NotBegun
            }
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

    /// Closes an attempt whose token was not sent. If that fails too, it stays in doubt, which harms nothing.
    async fn give_up(&self, spending: &Spending) {
        let (attempt, now) = (spending.attempt.id, self.now());
        let closed = self.write(move |tx| {
            Box::pin(async move { tx.end_attempt(attempt, now, "transient", "too_late").await })
        });
        if let Err(error) = closed.await {
            tracing::debug!(%attempt, %error, "an attempt that was not made stays open");
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
        check_switch(&app)?;
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
        // A request that is sent again because it never arrived takes no room of its own.
        if let Some(pass) = trip.pass.take() {
            pass.report(answered, self.now(), &mut dice);
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
                self.memory.forget_tokens(trip.ground.account.id);
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
                let again = settlement.as_ref().is_some_and(|settlement| settlement.again);
                *settled = settlement;
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
    pub(super) fn audience(&self) -> String {
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
