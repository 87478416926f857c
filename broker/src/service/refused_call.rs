//! Calls that a known caller may not make, on the record.
//!
//! Never tells the caller more than everybody is told. Invariant: the record is durable before the refusal leaves; of one that
//! is repeated within a minute only the count is written, at its end. Next: `gathered.rs` counts.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Time;
use crate::domain::caller::{Caller, NotPermitted};
use crate::domain::event::{Event, What};
use crate::domain::guessing::Network;
use crate::service::gathered::{Gathered, Refused, Sums};
use crate::service::{Error, Service};

/// What was refused lately. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedCalls(Arc<Mutex<Gathered<Call>>>);

/// Whose calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    project: String,
    caller: String,
    network: String,
    method: String,
}

impl Refused for Call {
    fn project(&self) -> &str {
        &self.project
    }
}

impl RefusedCalls {
    /// What is to be written now.
    pub(super) fn take(&self, now: Time, all: bool) -> Sums<Call> {
        self.lock().take(now, all)
    }

    /// What could not be written.
    pub(super) fn put_back(&self, sums: Sums<Call>) {
        self.lock().put_back(sums);
    }

    /// The records of it.
    pub(super) fn events(&self, sums: &Sums<Call>, now: Time) -> Vec<Event> {
        let event = |call: Call, count: u64| Event {
            what: What::CallRefusals,
            detail: format!("{} {count}", call.method),
            ..record(call, now)
        };
        let rest = |(project, count): (&String, &u64)| {
            let call = Call {
                project: project.clone(),
                caller: "broker".to_owned(),
                network: String::new(),
                method: "all".to_owned(),
            };
            event(call, *count)
        };
        let each = sums.each.iter().map(|(call, count)| event(call.clone(), *count));
        each.chain(sums.rest.iter().map(rest)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered<Call>> {
        // Counts are whole after every statement, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Records that `caller`, from `address`, was refused the call `method`. In its own project, whatever it asked for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if nothing can be recorded.
    pub async fn refused_call(
        &self,
        caller: &Caller,
        method: &str,
        address: IpAddr,
    ) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let call = Call {
            project: caller.project.to_string(),
            caller: caller.resource_name(),
            network: Network::of(address).to_string(),
            method: method.to_owned(),
        };
        if !self.refused_calls.lock().note_kind(call.clone(), now) {
            return Ok(());
        }
        self.record(Event { address: address.to_string(), ..record(call, now) }).await
    }
}

fn record(call: Call, at: Time) -> Event {
    Event {
        at,
        what: What::CallRefused,
        project: call.project,
        actor: call.caller,
        account: String::new(),
        subject: String::new(),
        granted: false,
        reason: Error::NotPermitted(NotPermitted).reason_number(),
        address: call.network,
        detail: call.method,
    }
}
