//! Health and figures, on a port of their own for the people who run the broker.
//!
//! Never on the browser's door, never anything about an account. Invariant: `/healthz` asks nobody, so a store that is away
//! takes the broker out of service but does not have it killed. Next: `telemetry/metrics.rs` lists the figures.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use super::connections;
use crate::service::Service;
use crate::tasks::Tasks;
use crate::telemetry::metrics;

/// How often samples are put into their buckets when nobody looks.
const UPKEEP: Duration = Duration::from_secs(5);
/// Longest time to wait for the store to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Looked {
    service: Service,
    figures: PrometheusHandle,
    tasks: Tasks,
}

/// Serves `/healthz`, `/readyz` and `/metrics` until [`Tasks::stop`].
pub async fn serve_ops(
    listener: TcpListener,
    figures: PrometheusHandle,
    service: Service,
    tasks: &Tasks,
) {
    drop(tasks.spawn(keep_up(figures.clone(), tasks.clone())));
    let looked = Looked { service, figures, tasks: tasks.clone() };
    let router = Router::new()
        .route("/healthz", get(async || "up\n"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(figures_now))
        .with_state(looked);
    connections::serve(listener, router, tasks).await;
}

async fn keep_up(figures: PrometheusHandle, tasks: Tasks) {
    let stopping = tasks.stopping();
    tokio::pin!(stopping);
    while tokio::time::timeout(UPKEEP, &mut stopping).await.is_err() {
        figures.run_upkeep();
    }
}

async fn readiness(State(looked): State<Looked>) -> Response {
    let answers = tokio::time::timeout(PATIENCE, looked.service.is_ready()).await;
    let (status, words) = match looked.service.is_draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "drained by an operator\n"),
        false => standing(looked.tasks.is_stopping(), answers.unwrap_or(false)),
    };
    metrics::ready(status == StatusCode::OK);
    (status, words).into_response()
}

const fn standing(stopping: bool, store_answers: bool) -> (StatusCode, &'static str) {
    match (stopping, store_answers) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
        (false, true) => (StatusCode::OK, "ready\n"),
    }
}

async fn figures_now(State(looked): State<Looked>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], looked.figures.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_has_a_reason() {
        assert_eq!(standing(false, true), (StatusCode::OK, "ready\n"));
        assert_eq!(standing(false, false).0, StatusCode::SERVICE_UNAVAILABLE);
        assert_ne!(standing(false, false).1, standing(true, false).1);
        assert_eq!(standing(true, true).0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
