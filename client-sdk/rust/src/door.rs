//! Sends one call: puts the API key or token on it, gives it a deadline, and tries the next endpoint while nothing was sent.
//!
//! Never repeats a call that may have reached a broker; that is `retry`'s, for calls that are safe to do twice.
//! Invariant: what fails here fails as our own [`Error`], found again inside the `Status` that tonic makes of it.
//! Next: `transport`.

use std::error::Error as StdError;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, header, request::Parts};
use tonic::codegen::{BoxFuture, Bytes, Context, Poll, Service};
use tonic::{ConnectError, TimeoutExpired};

use crate::errors::Error;
use crate::transport::Connection;

/// No request of this contract is larger; more means a mistake, not a mail.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// A transport for the generated clients. Made by [`Connection::door`].
#[derive(Clone, Debug)]
pub struct Door {
    connection: Connection,
    deadline: Duration,
}

impl Door {
    pub(crate) fn new(connection: Connection) -> Self {
        let deadline = connection.deadline();
        Self { connection, deadline }
    }

    /// The same door for calls that may take `deadline`.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn pass(self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let until = Instant::now() + self.deadline;
        timeout_at(until, self.send(request)).await.unwrap_or(Err(Error::Deadline))
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        if let Some(shown) = self.connection.bearer()? {
            parts.headers.insert(header::AUTHORIZATION, shown);
        }
        parts.headers.entry("grpc-timeout").or_insert_with(|| grpc_timeout(self.deadline));
        let body = whole(body).await?;
        let first = self.connection.first();
        let mut last = Error::Deadline;
        for step in 0..self.connection.count() {
            let at = (first + step) % self.connection.count();
            match self.try_at(at, &parts, body.clone()).await {
                Err(error @ Error::Unreachable { .. }) => {
                    tracing::debug!(endpoint = self.connection.name(at), "cannot reach broker");
                    self.connection.leave(at);
                    last = error;
                }
                done => return done,
            }
        }
        Err(last)
    }

    async fn try_at(&self, at: usize, parts: &Parts, body: Bytes) -> Result<Response<Body>, Error> {
        let mut channel = self.connection.channel(at);
        let failed = |error| self.failure(at, &error);
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(failed)?;
        let request = Request::from_parts(parts.clone(), Body::new(Full::new(body)));
        channel.call(request).await.map_err(failed)
    }

    fn failure(&self, at: usize, error: &tonic::transport::Error) -> Error {
        let endpoint = self.connection.name(at).to_owned();
        let mut message = String::from("the connection broke");
        let mut source: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(cause) = source {
            if let Some(ConnectError(cause)) = cause.downcast_ref() {
                return Error::Unreachable { endpoint, message: innermost(cause.as_ref()) };
            }
            if cause.is::<TimeoutExpired>() {
                return Error::Deadline;
            }
            message = cause.to_string();
            source = cause.source();
        }
        Error::Disconnected { endpoint, message }
    }
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().pass(request))
    }
}

/// The request in one piece, so that it can be sent again where nothing was sent.
async fn whole(body: Body) -> Result<Bytes, Error> {
    let collected = Limited::new(body, MAX_REQUEST_BYTES).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| {
        Error::options(format!("the request cannot be sent: {error}"), "send less in one call")
    })
}

/// `deadline` as the gRPC wire wants it: at most eight digits and a unit.
fn grpc_timeout(deadline: Duration) -> tonic::codegen::http::HeaderValue {
    let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).clamp(1, 99_999_999);
    let text = format!("{millis}m");
    text.try_into().unwrap_or(tonic::codegen::http::HeaderValue::from_static("10S"))
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
