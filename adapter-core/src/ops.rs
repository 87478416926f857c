//! Health and metrics for operators, on their own port.
//!
//! Never answers anything else and never shows a name or a secret. Invariant: it answers as long as the process lives; ready means
//! that a login could succeed. Next: nothing; this is the end of the walk.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::warn;

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// What is looked at.
#[derive(Clone)]
pub(crate) struct Ops {
    pub(crate) broker: Broker,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
}

/// Serves until the adapter stops.
pub(crate) async fn serve(listener: TcpListener, ops: Ops) {
    let stopping = ops.tasks.stopping();
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(ops): State<Ops>| ops.metrics.text()))
        .with_state(ops);
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => {
            if let Err(error) = served {
                warn!(%error, "the ops port is closed");
            }
        }
        () = stopping => {}
    }
}

async fn ready(State(ops): State<Ops>) -> (StatusCode, &'static str) {
    if ops.tasks.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if !ops.broker.is_there() {
        (StatusCode::SERVICE_UNAVAILABLE, "the broker is away\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
