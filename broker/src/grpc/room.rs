//! Bounds the calls in hand and refuses new ones while the process drains, so that an overloaded broker goes on doing what it
//! can and says so to the others at once.
//!
//! Never reads what it refuses: neither body nor key. Invariant: a call that finds no room, here or at
//! [`Entrance`], or a broker that drains, is refused with UNAVAILABLE and when to come again before anything is spent on it, so
//! that clients go to another broker or come back; those that have begun are brought to their end. The admin plane is not
//! refused: that is what an operator needs in that hour. Next: `measure.rs` counts the refusals too; `service/drain.rs` drains.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

use super::status;
use crate::service::{Drain, Entrance, Error, LetIn, Place, Service};
use crate::telemetry::metrics;

/// Calls in hand, over all connections of a door, at work or waiting for a provider. A refresh keeps its callers waiting for
/// seconds, so this is far more than work at a time.
const CALLS: usize = 4096;

/// When to come again who finds that many.
const CROWDED: Duration = Duration::from_secs(1);

/// Paths of the planes whose callers can come again or go to another broker.
const PLANES: [&str; 2] = ["/tokenbroker.v1.TokenService/", "/tokenbroker.v1.MailLoginService/"];

/// Whether whoever calls this path can come again or go to another broker.
pub(super) fn can_go_elsewhere(path: &str) -> bool {
    PLANES.iter().any(|plane| path.starts_with(plane))
}

/// Puts [`Bounded`] around a server.
#[derive(Clone)]
pub(super) struct Room {
    drain: Drain,
    entrance: Entrance,
    calls: Arc<Semaphore>,
}

/// A call that was let in, until it has been answered.
struct InHand {
    _call: LetIn,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

/// A server that takes no more calls than it can hold.
#[derive(Clone)]
pub(super) struct Bounded<S> {
    inner: S,
    room: Room,
}

impl Room {
    /// Room for the calls of one door.
    pub(super) fn before(service: &Service) -> Self {
        Self::of(CALLS, service.drain().clone(), service.entrance().clone())
    }

    fn of(calls: usize, drain: Drain, entrance: Entrance) -> Self {
        Self { drain, entrance, calls: Arc::new(Semaphore::new(calls)) }
    }

    /// A place at work and one in hand.
    fn enter(&self) -> Result<InHand, Error> {
        let call = self.drain.enter().ok_or_else(Error::draining)?;
        let full = |retry_after| {
            metrics::shed();
            Error::Overloaded { retry_after }
        };
        let permit = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| full(CROWDED))?;
        let place = self.entrance.enter().map_err(full)?;
        Ok(InHand { _call: call, _place: place, _permit: permit })
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
        let in_hand = match self.room.enter() {
            Ok(in_hand) => in_hand,
            Err(error) => {
                let refusal = status::of(&error).into_http();
                return Box::pin(std::future::ready(Ok(refusal)));
            }
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(in_hand);
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

    fn open() -> Entrance {
        Entrance::new(|| Some(Duration::ZERO))
    }

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
        let room = Room::of(1, Drain::default(), open());
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
        let room = Room::of(1, Drain::default(), open());
        let inner = service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<String>, Infallible>>()
        });
        drop(tower::Service::call(&mut room.layer(inner), request(TOKEN)));
        assert_eq!(code(&ask(&room, TOKEN).await), None);
    }

    #[tokio::test]
    async fn a_full_queue_of_decisions_refuses_at_the_door() {
        let room = Room::of(9, Drain::default(), Entrance::new(|| None));
        assert_eq!(code(&ask(&room, TOKEN).await), Some("14"));
        assert_eq!(code(&ask(&room, ADMIN).await), None);
    }
}
