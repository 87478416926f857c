//! One refresh per account at a time, for all who want one.
//!
//! Never runs anything itself: the refresh is a detached task, and those who want its outcome wait here with their own
//! deadlines. Invariant: while a flight of an account is in the air no other starts; its outcome is everyone's, good or
//! bad, so that a hundred callers cost one call; one that is lost frees its place. Next: `refresh.rs` boards; replicas
//! that share a database will meet at its lease, not here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::grant::AccessToken;
use crate::domain::ids::AccountId;
use crate::service::Error;

/// What a flight was for and what came of it.
type Landed = (String, Result<AccessToken, Error>);

/// The flights in the air.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<AccountId, watch::Receiver<Option<Landed>>>>>);

/// What came of boarding.
#[derive(Debug)]
pub(super) enum Boarding {
    /// Nobody was refreshing: do it, and land.
    Pilot(Flight),
    /// Somebody is: wait for the landing.
    Passenger(Landing),
}

/// The right to refresh an account. Dropping it ends the flight, however that comes about.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    account: AccountId,
    tell: watch::Sender<Option<Landed>>,
}

/// Resolves when the flight has ended.
#[derive(Debug)]
pub(super) struct Landing(watch::Receiver<Option<Landed>>);

impl Flights {
    /// How many are in the air.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes the account's place in the air, or joins whoever has it.
    pub(super) fn board(&self, account: AccountId) -> Boarding {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(&account) {
            return Boarding::Passenger(Landing(landing.clone()));
        }
        let (tell, landing) = watch::channel(None);
        flights.insert(account, landing);
        Boarding::Pilot(Flight { flights: self.clone(), account, tell })
    }
}

impl Flight {
    /// Ends the flight and tells the passengers.
    pub(super) fn land(self, audience: String, outcome: Result<AccessToken, Error>) {
        self.tell.send_replace(Some((audience, outcome)));
    }
}

impl Landing {
    /// Waits for the flight to end; `None` if it was lost.
    pub(super) async fn wait(mut self) -> Option<Landed> {
        let landed = self.0.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::entropy::Entropy;

    fn an_account() -> AccountId {
        AccountId::new(Time::from_millis(0), &Entropy::seeded(1))
    }

    #[tokio::test]
    async fn a_passenger_gets_the_pilots_outcome() {
        let flights = Flights::default();
        let Boarding::Pilot(first) = flights.board(an_account()) else { panic!("nobody flies") };
        let Boarding::Passenger(landing) = flights.board(an_account()) else { panic!("one flies") };
        first.land("mail".into(), Err(Error::RefreshInProgress));
        let (audience, outcome) = landing.wait().await.unwrap();
        assert_eq!(audience, "mail");
        assert!(matches!(outcome, Err(Error::RefreshInProgress)));
        assert!(matches!(flights.board(an_account()), Boarding::Pilot(_)), "the place is free");
    }

    #[tokio::test]
    async fn a_lost_flight_frees_its_place() {
        let flights = Flights::default();
        let Boarding::Pilot(first) = flights.board(an_account()) else { panic!("nobody flies") };
        let Boarding::Passenger(landing) = flights.board(an_account()) else { panic!("one flies") };
        drop(first);
        assert!(landing.wait().await.is_none());
        assert!(matches!(flights.board(an_account()), Boarding::Pilot(_)));
    }
}
