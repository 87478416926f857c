//! Bounds the calls in hand, so that an overloaded broker goes on doing what it can and says so to the others at once.
//!
//! Never reads what it refuses: neither body nor key. Invariant: a call that finds no room, here or in the queue of
//! decisions, is refused with UNAVAILABLE and when to come again before anything is spent on it; those that have begun are
//! brought to their end. The admin plane is not refused: that is what an operator needs in that hour. Next: `measure.rs`
//! counts the refusals too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::Layer;

use super::status;
use crate::service::{Error, Service};
use crate::telemetry::metrics;

/// Calls in hand, over all connections of a door. A refresh keeps its callers waiting for seconds, so this is far more than
/// decisions take.
const CALLS: usize = 4096;

/// Paths of the planes whose callers can come again or go to another broker.
const PLANES: [&str; 2] = ["/tokenbroker.v1.TokenService/", "/tokenbroker.v1.MailLoginService/"];

/// Whether whoever calls this path can come again or go to another broker.
pub(super) fn can_go_elsewhere(path: &str) -> bool {
    PLANES.iter().any(|plane| path.starts_with(plane))
}

/// Puts [`Bounded`] around a server.
#[derive(Clone)]
pub(super) struct Room {
    is_swamped: Arc<dyn Fn() -> bool + Send + Sync>,
    calls: Arc<Semaphore>,
}

/// A server that takes no more calls than it can hold.
#[derive(Clone)]
pub(super) struct Bounded<S> {
    inner: S,
    room: Room,
}

impl Room {
    /// Room for the calls of one door.
    pub(super) fn before(service: Service) -> Self {
        Self::of(CALLS, move || service.is_swamped())
    }

    fn of(calls: usize, is_swamped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_swamped: Arc::new(is_swamped), calls: Arc::new(Semaphore::new(calls)) }
    }
}

impl<S> Layer<S> for Room {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, room: self.clone() }
    }
}

impl<S, B, A> tower::Service<Request<B>> for Bounded<S>
where
    S: tower::Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    A: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !can_go_elsewhere(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let swamped = (self.room.is_swamped)();
        let entered = Arc::clone(&self.room.calls).try_acquire_owned().ok().filter(|_| !swamped);
        let Some(place) = entered else {
            metrics::shed();
            let refusal = status::of(&Error::Overloaded).into_http();
            return Box::pin(std::future::ready(Ok(refusal)));
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::oneshot;
    use tower::service_fn;

    use super::*;

    const TOKEN: &str = "/tokenbroker.v1.TokenService/GetAccessToken";
    const ADMIN: &str = "/tokenbroker.v1.AccountService/ListAccounts";

    fn code<A>(answer: &Response<A>) -> Option<&str> {
        answer.headers().get("grpc-status").map(|code| code.to_str().unwrap())
    }

    fn request(path: &str) -> Request<()> {
        Request::builder().uri(path).body(()).unwrap()
    }

    async fn ask(room: &Room, path: &str) -> Response<String> {
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::default()));
        tower::Service::call(&mut room.layer(inner), request(path)).await.unwrap()
    }

    #[tokio::test]
    async fn t34_who_finds_no_room_is_refused_at_once_and_told_when_to_come_again() {
        let room = Room::of(1, || false);
        let (release, released) = oneshot::channel::<()>();
        let mut released = Some(released);
        let inner = service_fn(move |_: Request<()>| {
            let released = released.take();
            async move {
                released.unwrap().await.unwrap();
                Ok::<_, Infallible>(Response::<String>::default())
            }
        });
        let held = tower::Service::call(&mut room.layer(inner), request(TOKEN));
        let refused = ask(&room, TOKEN).await;
        assert_eq!(code(&refused), Some("14"));
        assert!(refused.headers().contains_key("grpc-status-details-bin"), "when to come again");
        assert_eq!(code(&ask(&room, ADMIN).await), None, "operators are let in");
        release.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(code(&ask(&room, TOKEN).await), None);
    }

    #[tokio::test]
    async fn a_call_that_its_client_gave_up_makes_room() {
        let room = Room::of(1, || false);
        let inner = service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<String>, Infallible>>()
        });
        drop(tower::Service::call(&mut room.layer(inner), request(TOKEN)));
        assert_eq!(code(&ask(&room, TOKEN).await), None);
    }

    #[tokio::test]
    async fn a_full_queue_of_decisions_refuses_at_the_door() {
        let room = Room::of(9, || true);
        assert_eq!(code(&ask(&room, TOKEN).await), Some("14"));
        assert_eq!(code(&ask(&room, ADMIN).await), None);
    }
}
