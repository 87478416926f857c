//! Calls that a known caller may not make, on the record.
//!
//! Never tells the caller more than everybody is told. Invariant: the record is durable before the refusal leaves.

use std::net::IpAddr;

use crate::domain::caller::{Caller, NotPermitted};
use crate::domain::event::{Event, What};
use crate::service::{Error, Service};

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
        self.record(Event {
            at: self.parts.clock.now(),
            what: What::CallRefused,
            project: caller.project.to_string(),
            actor: caller.resource_name(),
            account: String::new(),
            subject: String::new(),
            granted: false,
            reason: Error::NotPermitted(NotPermitted).reason_number(),
            address: address.to_string(),
            detail: method.to_owned(),
        })
        .await
    }
}
