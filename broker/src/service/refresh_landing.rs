//! Where a refresh landed, in the words of the caller who waits for it.
//!
//! Never decides what becomes of the account; that is written down by now. Invariant: an outage, a refused app or a store
//! that is away never sounds like the owner's problem (promise P8). Next: `service/error.rs` has the words.

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::App;
use crate::domain::grant::AccessToken;
use crate::domain::refresh::admit::Why;
use crate::domain::refresh::flight::Outcome;
use crate::domain::refresh::settle::Settlement;
use crate::domain::refusal::{RefusalClass, Refused};
use crate::service::refresh::{Ground, SOON, Trip};
use crate::service::{Error, Service};

impl Service {
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

    /// The token, or why there is none.
    pub(super) async fn outcome_of(
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
        let token = self.read().await?.access_token(trip.ground.account.id, &audience).await?;
        // The schedule wants no particular one: what it renewed is new, for those too who joined it.
        let is_new = |token: &AccessToken| match than {
            Some(than) => token.generation > than,
            None => outcome == Outcome::Renewed,
        };
        let newer = token.filter(|token| !token.rejected && is_new(token));
        match (newer, outcome) {
            (_, Outcome::Unwanted) => {
                self.check_standing(&self.account(trip.ground.account.id).await?)?;
                Err(error)
            }
            (Some(token), Outcome::Renewed | Outcome::Refused | Outcome::Busy) => {
                self.check_standing(&self.account(trip.ground.account.id).await?)?;
                Ok(token)
            }
            (_, Outcome::Renewed) => {
                self.check_standing(&self.account(trip.ground.account.id).await?)?;
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

    /// A refusal that was settled, as callers and the audit are told of it.
    pub(super) fn refusal(
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
}

/// Refuses an app that is switched off: nothing is handed out by it, whatever is at hand.
pub(super) fn check_switch(app: &App) -> Result<(), Error> {
    if app.disabled { Err(Error::AppDisabled { app: app.name.to_string() }) } else { Ok(()) }
}
