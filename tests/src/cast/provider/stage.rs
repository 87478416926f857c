//! Acts a call out: latency, outage, faults, and the real work in its place between them.
//!
//! Every OAuth endpoint passes through [`perform`] and none processes anything on its own. The work is a plain closure
//! that runs at once, so being processed and being answered are two separate facts, as in life. Next: [`super::token`].

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::answer::Answer;
use super::faults::{Call, Fault, Rule};
use super::http_date;
use super::line::Cutter;
use super::sim::Sim;

const LATENCY_MAX: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(600);
const ENDLESS_CHUNK: usize = 64 * 1024;
const ENDLESS_CHUNKS: usize = 1024;

/// Performs one call: `work` is done unless a fault or an outage stands in its way.
pub async fn perform(
    sim: &Sim,
    cutter: &Cutter,
    call: Call,
    work: impl FnOnce() -> Answer + Send,
) -> Response {
    let _in_flight = sim.arrive(&call);
    let (before, after) = latencies(sim);
    pause(sim, before).await;
    if is_down(sim) {
        return Answer::status(503).into_response();
    }
    let rule = sim.state().faults.next(&call);
    match rule {
        None => {
            let answer = work();
            pause(sim, after).await;
            deliver(sim, answer)
        }
        Some(rule) => {
            let processed = || async {
                let answer = work();
                pause(sim, after).await;
                answer
            };
            act(sim, cutter, &call, rule, processed).await
        }
    }
}

/// The waits before and after processing.
fn latencies(sim: &Sim) -> (Duration, Duration) {
    let state = sim.state();
    let settings = &state.settings;
    let with = |fixed: u64, jitter: u64| {
        let more = rand::random_range(0..=jitter.min(60_000));
        Duration::from_millis(fixed.saturating_add(more)).min(LATENCY_MAX)
    };
    let before = with(settings.latency_ms, settings.latency_jitter_ms);
    let after = with(settings.answer_latency_ms, settings.answer_jitter_ms);
    (before, after.min(LATENCY_MAX.saturating_sub(before)))
}

async fn pause(sim: &Sim, span: Duration) {
    if !span.is_zero() {
        wait(sim, span).await;
    }
}

/// The whole answer; when the connection takes its body, the tokens in it count as delivered.
fn deliver(sim: &Sim, answer: Answer) -> Response {
    let carried: Vec<usize> = answer.carries.into_iter().flatten().collect();
    if carried.is_empty() {
        return answer.into_response();
    }
    let (sim, length) = (sim.clone(), answer.body.len());
    let body = axum::body::Bytes::from(answer.body.clone());
    let handed = tokio_stream::iter([body]).map(move |bytes| {
        sim.state().ledger.note_delivered(&carried);
        Ok::<_, std::io::Error>(bytes)
    });
    let mut response = answer.into_response();
    *response.body_mut() = Body::from_stream(handed);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

async fn act<F: Future<Output = Answer> + Send>(
    sim: &Sim,
    cutter: &Cutter,
    call: &Call,
    rule: Rule,
    processed: impl FnOnce() -> F + Send,
) -> Response {
    if replaces(&rule.fault) {
        if rule.processed {
            drop(processed().await);
        }
        return replacement(sim, cutter, call, &rule.fault).await;
    }
    let answer = processed().await;
    match rule.fault {
        Fault::ResetAfter => reset(cutter),
        Fault::Truncate => truncated(answer),
        Fault::Delay { ms } => {
            wait(sim, Duration::from_millis(ms)).await;
            deliver(sim, answer)
        }
        fault => deliver(sim, answer.bent(&fault)),
    }
}

fn is_down(sim: &Sim) -> bool {
    let state = sim.state();
    let flapped = state.settings.flapping.is_some_and(|it| it.is_down(sim.clock.now_ms()));
    state.settings.outage || flapped
}

async fn wait(sim: &Sim, span: Duration) {
    tokio::select! {
        () = sim.stopping.cancelled() => {}
        () = tokio::time::sleep(span.min(WAIT_MAX)) => {}
    }
}

/// Whether a fault stands in place of the real answer.
fn replaces(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Status { .. }
            | Fault::Oauth { .. }
            | Fault::Hang
            | Fault::ResetBefore
            | Fault::Html
            | Fault::Empty
            | Fault::NotAnObject
            | Fault::Endless
    )
}

async fn replacement(sim: &Sim, cutter: &Cutter, call: &Call, fault: &Fault) -> Response {
    match fault {
        Fault::Status { status, retry_after } => {
            let answer = Answer::status(*status);
            let Some(after) = retry_after else { return answer.into_response() };
            let (after, seconds) = moment_of(after, sim.clock.now_s());
            if let (Some(client), Some(seconds)) = (&call.client, seconds) {
                sim.state().tally.told_to_wait(client, seconds, sim.clock.now_ms());
            }
            answer.with(RETRY_AFTER, &after).into_response()
        }
        Fault::Oauth { .. } => oauth_error(fault).into_response(),
        Fault::Hang => {
            wait(sim, WAIT_MAX).await;
            reset(cutter)
        }
        Fault::Html => Answer::text(
            StatusCode::OK,
            "text/html",
            "<html><body><h1>Please sign in to the guest network</h1></body></html>".to_owned(),
        )
        .into_response(),
        Fault::NotAnObject => {
            Answer::json(StatusCode::OK, &json!(["not an object"])).into_response()
        }
        Fault::Empty => Answer::status(200).into_response(),
        Fault::Endless => endless(),
        _ => reset(cutter),
    }
}

/// What is sent as `Retry-After`, and how many seconds from `now_s` that is; nonsense is sent as it stands.
fn moment_of(told: &str, now_s: i64) -> (String, Option<i64>) {
    if let Some(Ok(seconds)) = told.strip_prefix("date+").map(str::parse::<i64>) {
        return (http_date::written(now_s.saturating_add(seconds)), Some(seconds));
    }
    let by_date = || http_date::read(told).map(|second| second.saturating_sub(now_s));
    (told.to_owned(), told.parse().ok().or_else(by_date))
}

fn oauth_error(fault: &Fault) -> Answer {
    let Fault::Oauth { error, description, subtype, suberror, status } = fault else {
        return Answer::status(500);
    };
    let members = [
        ("error", Some(error)),
        ("error_description", description.as_ref()),
        ("error_subtype", subtype.as_ref()),
        ("suberror", suberror.as_ref()),
    ];
    let said =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    let mut answer = Answer::json(StatusCode::BAD_REQUEST, &Value::Object(said.collect()));
    answer.status =
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(answer.status);
    answer
}

/// The response is never written: the line is cut before.
fn reset(cutter: &Cutter) -> Response {
    cutter.cut();
    Answer::status(500).into_response()
}

/// Announces the whole body, sends half of it and ends the connection.
fn truncated(answer: Answer) -> Response {
    let whole = answer.body.len();
    let half = answer.body.as_bytes()[..whole / 2].to_vec();
    let pieces = [Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))];
    // Between the pieces the writer must get a turn, or the half would go down with the error.
    let paced = tokio_stream::iter(pieces).throttle(Duration::from_millis(20));
    let mut response = answer.into_response();
    *response.body_mut() = Body::from_stream(paced);
    response.headers_mut().insert(CONTENT_LENGTH, whole.into());
    response
}

fn endless() -> Response {
    let chunk = axum::body::Bytes::from(vec![b' '; ENDLESS_CHUNK]);
    let chunks = std::iter::repeat_n(chunk, ENDLESS_CHUNKS).map(Ok::<_, std::io::Error>);
    let mut response = Response::new(Body::from_stream(tokio_stream::iter(chunks)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
