//! Room for refreshes: the buckets and breakers of this process, by app and by token endpoint.
//!
//! Never asks the store: what has to hold for all brokers (a refused app, a silence that was asked for) is in the ledger.
//! Invariant: whoever passed and asked nothing gives back what it took. Next: `domain/refresh/gate.rs` has the rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use crate::clock::Time;
use crate::domain::ids::AppId;
use crate::domain::refresh::gate::{Breaker, Bucket, EndpointState};
use crate::domain::refresh::{Dice, Urgency};
use crate::telemetry::metrics;

/// The gates of this process. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Gates {
    rates: Rates,
    state: Arc<Mutex<State>>,
}

/// Calls a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) app: f64,
    pub(super) endpoint: f64,
}

/// One entry for each app and endpoint there is; an endpoint is an operator's setting, never a client's.
#[derive(Debug, Default)]
struct State {
    apps: HashMap<AppId, Bucket>,
    endpoints: HashMap<String, (Bucket, Breaker)>,
    endpoint_of: HashMap<AppId, String>,
}

/// What came of asking for room.
#[derive(Debug)]
pub(super) enum Entry {
    /// There is room.
    Passed(Pass),
    /// There will be, after this long.
    Full(Duration),
    /// The endpoint is shut for this long.
    Shut(Duration),
}

/// The right to one call; given back when dropped unused.
#[derive(Debug)]
pub(super) struct Pass {
    gates: Gates,
    app: AppId,
    endpoint: String,
    used: bool,
}

impl Gates {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, state: Arc::default() }
    }

    /// Asks for room for one call.
    pub(super) fn enter(&self, endpoint: &Url, app: AppId, urgency: Urgency, now: Time) -> Entry {
        let name = name_of(endpoint);
        let mut state = self.state();
        let State { apps, endpoints, endpoint_of } = &mut *state;
        if endpoint_of.get(&app) != Some(&name) {
            endpoint_of.insert(app, name.clone());
        }
        let (shared, breaker) = endpoints
            .entry(name.clone())
            .or_insert_with(|| (Bucket::new(self.rates.endpoint, now), Breaker::default()));
        let own = apps.entry(app).or_insert_with(|| Bucket::new(self.rates.app, now));
        if let Err(left) = breaker.pass(now) {
            return Entry::Shut(left);
        }
        if let Err(wait) = own.take(urgency, now) {
            breaker.give_back();
            return Entry::Full(wait);
        }
        if let Err(wait) = shared.take(urgency, now) {
            own.give_back();
            breaker.give_back();
            return Entry::Full(wait);
        }
        Entry::Passed(Pass { gates: self.clone(), app, endpoint: name, used: false })
    }

    /// How many of `wanted` scheduled refreshes of an app are worth a try now: all, one to probe, or none.
    pub(super) fn worth(&self, app: AppId, wanted: usize, now: Time) -> usize {
        let state = self.state();
        let breaker = state.endpoint_of.get(&app).and_then(|name| state.endpoints.get(name));
        match breaker.and_then(|(_, breaker)| breaker.shut_until()) {
            None => wanted,
            Some(until) if until > now => 0,
            Some(_) => wanted.min(1),
        }
    }

    /// All endpoints that were asked since the start.
    pub(super) fn endpoints(&self) -> Vec<EndpointState> {
        let state = self.state();
        let mut all: Vec<EndpointState> =
            state.endpoints.iter().map(|(name, (_, breaker))| view(name, breaker)).collect();
        all.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
        all
    }

    /// Forgets the failures of a token endpoint. False if it was not asked since the start.
    pub(super) fn reset(&self, endpoint: &str) -> bool {
        let mut state = self.state();
        let Some((_, breaker)) = state.endpoints.get_mut(endpoint) else { return false };
        if breaker.shut_until().is_some() {
            metrics::breaker(false);
        }
        breaker.answered();
        true
    }

    /// The token endpoint that an app was last asked for at; `None` if it was not since the start.
    pub(super) fn endpoint_of(&self, app: AppId) -> Option<String> {
        self.state().endpoint_of.get(&app).cloned()
    }

    /// How a token endpoint stands; `None` if it was not asked since the start.
    pub(super) fn endpoint(&self, endpoint: &Url) -> Option<EndpointState> {
        let name = name_of(endpoint);
        let state = self.state();
        state.endpoints.get(&name).map(|(_, breaker)| view(&name, breaker))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The call was made; `answered` if by the provider itself, whatever it said.
    pub(super) fn report(mut self, answered: bool, now: Time, dice: &mut dyn Dice) {
        self.used = true;
        let mut state = self.gates.state();
        let Some((_, breaker)) = state.endpoints.get_mut(&self.endpoint) else { return };
        if answered {
            if breaker.shut_until().is_some() {
                tracing::info!(endpoint = %self.endpoint, "a token endpoint answers again");
                metrics::breaker(false);
            }
            breaker.answered();
        } else if breaker.failed(now, dice) {
            tracing::warn!(endpoint = %self.endpoint, "a token endpoint is away; asking it now and then");
            metrics::breaker(true);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut state = self.gates.state();
        if let Some(bucket) = state.apps.get_mut(&self.app) {
            bucket.give_back();
        }
        if let Some((bucket, breaker)) = state.endpoints.get_mut(&self.endpoint) {
            bucket.give_back();
            breaker.give_back();
        }
    }
}

fn view(name: &str, breaker: &Breaker) -> EndpointState {
    EndpointState {
        endpoint: name.to_owned(),
        failures: breaker.failures(),
        shut_until: breaker.shut_until(),
    }
}

/// Without query and user, which are nobody's business here.
fn name_of(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port_or_known_default().unwrap_or_default();
    format!("{host}:{port}{}", endpoint.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    const NOW: Time = Time::from_millis(1_000_000);

    fn gates() -> (Gates, Url, AppId) {
        let url = Url::parse("https://id.example/token?x=1").unwrap();
        let gates = Gates::new(Rates { app: 2.0, endpoint: 3.0 });
        (gates, url, AppId::new(NOW, &Entropy::seeded(1)))
    }

    fn enter(gates: &Gates, url: &Url, app: AppId) -> Option<Pass> {
        match gates.enter(url, app, Urgency::Wanted, NOW) {
            Entry::Passed(pass) => Some(pass),
            Entry::Full(_) | Entry::Shut(_) => None,
        }
    }

    #[test]
    fn an_app_has_its_own_room_and_shares_that_of_its_endpoint() {
        let (gates, url, app) = gates();
        let other = AppId::new(NOW, &Entropy::seeded(2));
        let passes: Vec<Option<Pass>> =
            [app, app, app, other, other].map(|app| enter(&gates, &url, app)).into();
        let through: Vec<bool> = passes.iter().map(Option::is_some).collect();
        assert_eq!(through, [true, true, false, true, false]);
        drop(passes);
        assert!(enter(&gates, &url, app).is_some(), "what was not used was given back");
    }

    #[test]
    fn a_shut_endpoint_lets_one_probe_through_and_says_so_to_the_schedule() {
        let (gates, url, app) = gates();
        let mut dice = Entropy::seeded(3);
        for at in 0..5 {
            let now = NOW.after(Duration::from_secs(at));
            let Entry::Passed(pass) = gates.enter(&url, app, Urgency::Forced, now) else {
                panic!()
            };
            pass.report(false, now, &mut dice);
        }
        let shut = NOW.after(Duration::from_secs(4));
        assert_eq!(gates.worth(app, 9, shut), 0);
        let told = gates.endpoint(&url).unwrap();
        assert_eq!((told.endpoint.as_str(), told.failures), ("id.example:443/token", 5));
        assert!(told.shut_until.is_some_and(|until| until > shut));
        assert_eq!(gates.endpoint(&Url::parse("https://other.example/").unwrap()), None);
        let probe = NOW.after(Duration::from_secs(6));
        assert_eq!(gates.worth(app, 9, probe), 1);
        let Entry::Passed(pass) = gates.enter(&url, app, Urgency::Wanted, probe) else { panic!() };
        assert!(matches!(gates.enter(&url, app, Urgency::Wanted, probe), Entry::Shut(_)));
        pass.report(true, probe, &mut dice);
        assert_eq!((gates.worth(app, 9, probe), gates.endpoints()[0].failures), (9, 0));
    }

    #[test]
    fn an_endpoint_that_was_reset_is_asked_at_once_like_one_that_never_failed() {
        let (gates, url, app) = gates();
        let mut dice = Entropy::seeded(3);
        for at in 0..5 {
            let now = NOW.after(Duration::from_secs(at));
            let Entry::Passed(pass) = gates.enter(&url, app, Urgency::Forced, now) else {
                panic!()
            };
            pass.report(false, now, &mut dice);
        }
        let shut = NOW.after(Duration::from_secs(4));
        assert!(matches!(gates.enter(&url, app, Urgency::Wanted, shut), Entry::Shut(_)));
        assert!(!gates.reset("other.example:443/"), "nobody asked there");
        let endpoint = gates.endpoint_of(app).unwrap();
        assert!(gates.reset(&endpoint));
        assert!(matches!(gates.enter(&url, app, Urgency::Wanted, shut), Entry::Passed(_)));
        assert_eq!(gates.endpoints()[0].failures, 0);
    }
}
