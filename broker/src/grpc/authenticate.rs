//! From a call's metadata and connection to its caller.
//!
//! Never lets a call pass without one, and never guesses between two. Invariant: identity belongs to the call, not to the
//! connection: a key, certificate or token that ended meanwhile is refused on the same connection; a known caller that asks
//! for what it may not is on the record before it is refused. Next: `callers` recognises what was shown.

use std::net::{IpAddr, Ipv4Addr};

use tonic::{Request, Status};

use super::measure::Method;
use super::peer::Peer;
use super::serve::Door;
use super::status;
use crate::callers::{NoCaller, Shown};
use crate::domain::caller::{Caller, Manage, ManageCallers};
use crate::domain::ids::ProjectId;
use crate::domain::keeper::KeepKeys;
use crate::memory::Seen;
use crate::service::Error;

/// What a request asks for and from where, for the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    method: &'static str,
    address: IpAddr,
}

/// What `request` asks for.
pub(super) fn asked<T>(request: &Request<T>) -> Asked {
    let method = request.extensions().get::<Method>().map_or("other", |method| method.0);
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    Asked {
        method: method.trim_start_matches("/tokenbroker.v1."),
        address: peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip()),
    }
}

impl Door {
    /// The caller of a request, by rights as they are now.
    pub(super) async fn caller<T: Sync>(
        &self,
        request: &Request<T>,
    ) -> Result<Seen<Caller>, Status> {
        if let Err(why) = self.callers.catch_up().await {
            return Err(status::of(&error_of(why)));
        }
        self.deciding_caller(request).await
    }

    /// The caller of a request whose outcome is a recorded decision: that looks whether its rights are as they were.
    pub(super) async fn deciding_caller<T: Sync>(
        &self,
        request: &Request<T>,
    ) -> Result<Seen<Caller>, Status> {
        let asked = asked(request);
        let bearer = bearer(request).map_err(|error| status::of(&error))?;
        let certificate = request.extensions().get::<Peer>();
        let certificate = certificate.and_then(|peer| peer.certificate.as_ref());
        let names = certificate.map(|shown| shown.names_at(self.clock.now()));
        // A certificate that is not good any more is not the same as none: its owner means to show it.
        let Some(certificate) = names.map_or(Some(None), |names| names.map(Some)) else {
            return Err(status::of(&Error::Unauthenticated));
        };
        let shown = Shown { bearer, certificate, address: asked.address };
        match self.callers.recognise(shown).await {
            Ok(caller) => Ok(caller),
            Err(NoCaller::Elsewhere(caller)) => {
                let recorded = Box::pin(self.record_refusal(&caller, asked)).await;
                Err(status::of(&recorded.err().unwrap_or(Error::Unauthenticated)))
            }
            Err(why) => Err(status::of(&error_of(why))),
        }
    }

    /// The permit of a request to manage a project.
    pub(super) async fn manager<T: Sync>(
        &self,
        request: &Request<T>,
        project: &ProjectId,
    ) -> Result<Manage, Status> {
        let caller = self.caller(request).await?;
        let permit = caller.may_manage(project).map_err(Error::from);
        self.on_record(&caller, asked(request), permit).await
    }

    /// The permit of a request to manage a project's callers.
    pub(super) async fn administrator<T: Sync>(
        &self,
        request: &Request<T>,
        project: &ProjectId,
    ) -> Result<ManageCallers, Status> {
        let caller = self.caller(request).await?;
        let permit = caller.may_manage_callers(project).map_err(Error::from);
        self.on_record(&caller, asked(request), permit).await
    }

    /// An outcome as the caller gets it; a refusal for want of a right is on the record first.
    pub(super) async fn on_record<T>(
        &self,
        caller: &Caller,
        asked: Asked,
        outcome: Result<T, Error>,
    ) -> Result<T, Status> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let recorded = match &error {
            Error::NotPermitted(_) => self.record_refusal(caller, asked).await,
            _ => Ok(()),
        };
        Err(status::of(&recorded.err().unwrap_or(error)))
    }

    async fn record_refusal(&self, caller: &Caller, asked: Asked) -> Result<(), Error> {
        self.service.refused_call(caller, asked.method, asked.address).await
    }
}

/// What stands behind `Bearer` in the one `authorization` header; nothing without the header.
fn bearer<T>(request: &Request<T>) -> Result<Option<&str>, Error> {
    let mut headers = request.metadata().get_all("authorization").iter();
    let Some(header) = headers.next() else { return Ok(None) };
    let text = header.to_str().ok().filter(|_| headers.next().is_none());
    let bearer = text.and_then(|text| text.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, shown)| Some(shown.trim())).ok_or(Error::Unauthenticated)
}

impl Door {
    /// The permit of a request to look after the keys.
    pub(super) async fn keeper<T: Sync>(&self, request: &Request<T>) -> Result<KeepKeys, Status> {
        let caller = self.caller(request).await?;
        let permit = caller.may_keep_keys().map_err(Error::from);
        self.on_record(&caller, asked(request), permit).await
    }
}

fn error_of(why: NoCaller) -> Error {
    match why {
        NoCaller::Unknown | NoCaller::Elsewhere(_) => Error::Unauthenticated,
        NoCaller::IssuerAway => Error::IssuerAway,
        NoCaller::Store(error) => error.into(),
        NoCaller::Seal(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn what_a_call_carries_about_is_small() {
        let size =
            size_of(|door: &'static Door, call: &'static Request<()>| door.deciding_caller(call));
        assert!(size < 3000, "{size} bytes are made, moved and freed for each call");
    }
}
