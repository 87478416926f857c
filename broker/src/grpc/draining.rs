//! Refuses new calls of services and adapters while the process drains, and counts those that are being answered.
//!
//! Never stands in the way of the admin plane, of health or of reflection. Invariant: a refusal is UNAVAILABLE with RetryInfo, so
//! that clients go to another broker or come back. Next: `service/drain.rs` has the state.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::room::can_go_elsewhere;
use super::status;
use crate::service::{Drain, Error};

/// Puts [`Admitted`] around a server.
#[derive(Clone, Debug)]
pub(super) struct Admit(pub(super) Drain);

/// A server that can be drained.
#[derive(Clone, Debug)]
pub(super) struct Admitted<S> {
    inner: S,
    drain: Drain,
}

impl<S> Layer<S> for Admit {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        Admitted { inner, drain: self.0.clone() }
    }
}

impl<S, B> Service<Request<B>> for Admitted<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !can_go_elsewhere(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let Some(call) = self.drain.enter() else {
            let refusal = status::of(&Error::draining());
            return Box::pin(async move { Ok(refusal.into_http()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(call);
            answer
        })
    }
}
