//! The last step of handing something out: the decision is judged by the newest rights and recorded.
//!
//! Never hands out anything itself. Invariant: what [`decide`](Service::decide) has not let through is not answered with: the
//! door asks again from the beginning, who calls and what for, when it is told [`Error::Overtaken`]. Next: `store/lane.rs`.

use std::time::Duration;

use crate::domain::event::{Event, What};
use crate::failpoint;
use crate::memory::Basis;
use crate::service::{Entrance, Error, Service};
use crate::store::{self, Decision, Opening, Verdict};

/// How often a door asks again when rights change under a decision.
pub const TRIES: usize = 5;

/// When to come again who finds the queue full after all: one batch takes a hundred places in it.
const SOON: Duration = Duration::from_millis(100);

impl Service {
    /// Lets a decision through once it is recorded, or, in the relaxed mode and for tokens, soon will be.
    pub(super) async fn decide(
        &self,
        basis: Basis,
        event: Event,
        opening: Option<Opening>,
    ) -> Result<(), Error> {
        let early = self.parts.decisions.relaxed && event.what == What::Token;
        let decision = Decision { basis: basis.into_sights(), event, opening };
        failpoint::reach("decision.made");
        let verdict = match early {
            true => self.parts.store.decide_relaxed(decision).await,
            false => self.parts.store.decide(decision).await,
        };
        failpoint::reach("decision.recorded");
        match verdict {
            Ok(Verdict::Stands) => Ok(()),
            Ok(Verdict::Overtaken) => Err(Error::Overtaken),
            Ok(Verdict::Limited) => Err(Error::LoginLimited),
            Err(store::Error::Busy) => Err(Error::Overloaded { retry_after: SOON }),
            Err(error) => Err(error.into()),
        }
    }

    /// For the doors: whom to let in.
    pub const fn entrance(&self) -> &Entrance {
        &self.entrance
    }
}
