//! From a call's metadata and connection to its caller.
//!
//! Never lets a call pass without one. Invariant: identity belongs to the call, not to the connection: a key revoked
//! meanwhile is refused on the same connection. Next: `callers` checks the key.

use std::net::{IpAddr, Ipv4Addr};

use tonic::{Request, Status};

use super::serve::Door;
use super::status;
use crate::callers::NoCaller;
use crate::domain::caller::{Caller, Manage, ManageCallers};
use crate::domain::ids::ProjectId;
use crate::domain::keeper::KeepKeys;
use crate::service::Error;

impl Door {
    /// The caller of a request.
    pub(super) async fn caller<T: Sync>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let key = header.and_then(|header| header.split_once(' '));
        let key = key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, key)) = key else { return Err(status::of(&Error::Unauthenticated)) };
        let address =
            request.remote_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let caller = self.callers.by_key(key.trim(), address).await;
        caller.map_err(|why| status::of(&error_of(why)))
    }

    /// The permit of a request to manage a project.
    pub(super) async fn manager<T: Sync>(
        &self,
        request: &Request<T>,
        project: &ProjectId,
    ) -> Result<Manage, Status> {
        let caller = self.caller(request).await?;
        caller.may_manage(project).map_err(|denied| status::of(&denied.into()))
    }

    /// The permit of a request to manage a project's callers.
    pub(super) async fn administrator<T: Sync>(
        &self,
        request: &Request<T>,
        project: &ProjectId,
    ) -> Result<ManageCallers, Status> {
        let caller = self.caller(request).await?;
        caller.may_manage_callers(project).map_err(|denied| status::of(&denied.into()))
    }
}

impl Door {
    /// The permit of a request to look after the keys.
    pub(super) async fn keeper<T: Sync>(&self, request: &Request<T>) -> Result<KeepKeys, Status> {
        let caller = self.caller(request).await?;
        caller.may_keep_keys().map_err(|denied| status::of(&denied.into()))
    }
}

fn error_of(why: NoCaller) -> Error {
    match why {
        NoCaller::Unknown => Error::Unauthenticated,
        NoCaller::Store(error) => error.into(),
        NoCaller::Seal(error) => error.into(),
    }
}
