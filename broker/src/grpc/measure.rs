//! Counts and times every gRPC call, by method and code.
//!
//! Never labels a figure with what a client sent: a path that is no method of the contract counts as `other`.
//! Invariant: a call is counted once, when its answer begins. Next: `telemetry/metrics.rs` keeps the figures.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use http::{Request, Response};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::telemetry::metrics::Calls;

/// The paths of every method of the contract, and its figures.
static METHODS: LazyLock<HashMap<&'static str, Calls>> = LazyLock::new(methods);

/// Those of every other path.
static OTHER: Calls = Calls::of("other");

/// Codes by their number (gRPC's `statuscodes.md`).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The method of a request, for who has to name it: `/package.Service/Method`, or `other`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method(pub(super) &'static str);

/// Puts [`Measured`] around a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure;

/// A server whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Measured<S>(S);

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured(inner)
    }
}

impl<S, B, A> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (method, calls) = METHODS
            .get_key_value(request.uri().path())
            .map_or(("other", &OTHER), |(name, calls)| (*name, calls));
        request.extensions_mut().insert(Method(method));
        let (began, answer) = (Instant::now(), self.0.call(request));
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or("INTERNAL", code);
            calls.ended(code, began.elapsed());
            answer
        })
    }
}

/// The code of an answer: a refusal has it in the headers, a success only in the trailers.
fn code<A>(answer: &Response<A>) -> &'static str {
    let Some(header) = answer.headers().get("grpc-status") else { return CODES[0] };
    let number = header.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    number.and_then(|number| CODES.get(number)).copied().unwrap_or(CODES[2])
}

fn methods() -> HashMap<&'static str, Calls> {
    let described = FileDescriptorSet::decode(tokenbroker_proto::FILE_DESCRIPTOR_SET);
    let files = described.unwrap_or_default().file;
    let paths = files.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let name = format!("/{}.{}", file.package(), service.name());
            service.method.iter().map(move |method| format!("{name}/{}", method.name()))
        })
    });
    // Made once, for as long as the process runs.
    let leaked = paths.map(|path: String| &*path.leak());
    leaked.map(|path| (path, Calls::of(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_methods_are_known_and_nothing_else_is() {
        assert!(METHODS.contains_key("/tokenbroker.v1.TokenService/GetAccessToken"));
        assert!(!METHODS.contains_key("/tokenbroker.v1.TokenService/ann@example.com"));
    }
}
