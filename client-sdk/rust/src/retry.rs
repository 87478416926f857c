//! Repeats calls that are safe to do twice: reads, and `GetAccessToken`.
//!
//! Never repeats anything else, never waits past the call's deadline. Invariant: a wait that would end after the
//! deadline is not begun; the caller gets the error, with its `retry_after`, at once. Next: `tokens` calls through
//! here.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::codegen::BoxFuture;
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::errors::Error;
use crate::transport::Connection;

const MAX_ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Between dials that led nowhere; the first outlasts the connector's memory of a failed one.
const REDIALS: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(300), Duration::from_millis(600)];

/// One attempt at a call: given a door that knows how much time is left.
pub(crate) type Attempt<'a, T> = &'a (dyn Fn(Door) -> BoxFuture<Response<T>, Status> + Send + Sync);

/// Does a call once, within `deadline`. If the broker asked cannot, or hangs, the next call asks another one first. While
/// nothing could be sent it is tried again for about a second: a broker that restarts costs nobody a login.
pub(crate) async fn once<T>(
    connection: &Connection,
    deadline: Duration,
    attempt: Attempt<'_, T>,
) -> Result<T, Error> {
    let until = Instant::now() + deadline;
    for pause in REDIALS {
        match unrepeated(connection, until, attempt).await {
            Err(Error::Unreachable { .. }) if Instant::now() + pause < until => sleep(pause).await,
            done => return done,
        }
    }
    unrepeated(connection, until, attempt).await
}

async fn unrepeated<T>(
    connection: &Connection,
    until: Instant,
    attempt: Attempt<'_, T>,
) -> Result<T, Error> {
    let at = connection.first();
    let answer = bounded(connection, until, attempt).await;
    if answer.as_ref().is_err_and(|error| wants_another_broker(error) || *error == Error::Deadline)
    {
        connection.leave(at);
    }
    answer
}

/// Does a call that is safe to repeat, as often as makes sense within `deadline`.
pub(crate) async fn safely<T>(
    connection: &Connection,
    deadline: Duration,
    attempt: Attempt<'_, T>,
) -> Result<T, Error> {
    let until = Instant::now() + deadline;
    let mut made = 0;
    loop {
        let at = connection.first();
        let error = match bounded(connection, until, attempt).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        made += 1;
        let elsewhere = wants_another_broker(&error);
        if elsewhere {
            connection.leave(at);
        }
        let untried = elsewhere && (made as usize) < connection.count();
        let left = until.saturating_duration_since(Instant::now());
        let dice = rand::random();
        match wait(&error, made, untried, dice) {
            Some(pause) if made < MAX_ATTEMPTS.max(connection.count() as u32) && pause < left => {
                tracing::debug!(%error, attempt = made, ?pause, "trying again");
                sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}

async fn bounded<T>(
    connection: &Connection,
    until: Instant,
    attempt: Attempt<'_, T>,
) -> Result<T, Error> {
    let left = until.saturating_duration_since(Instant::now());
    let answer = timeout_at(until, attempt(connection.door().within(left))).await;
    Ok(answer.map_err(|_| Error::Deadline)??.into_inner())
}

/// A broker that cannot now and does not say when: another may.
fn wants_another_broker(error: &Error) -> bool {
    matches!(error, Error::Unavailable { retry_after: None, .. } | Error::Disconnected { .. })
}

/// How long to wait after the `made`th failure; `None` if repeating makes no sense. `dice` is uniform in 0..1.
fn wait(error: &Error, made: u32, untried: bool, dice: f64) -> Option<Duration> {
    if !error.is_retryable() || *error == Error::Deadline {
        return None;
    }
    if untried {
        return Some(Duration::ZERO);
    }
    let backoff = (FIRST_WAIT * 2u32.saturating_pow(made.saturating_sub(1))).min(LONGEST_WAIT);
    let jittered = backoff.mul_f64(0.5 + dice / 2.0);
    // The broker's word is the least; a tenth on top keeps those it spoke to apart.
    Some(match error.retry_after() {
        Some(told) => told + (told / 10).mul_f64(dice),
        None => jittered,
    })
}

/// A request for the generated clients.
pub(crate) fn request<M: Clone>(message: &M) -> Request<M> {
    Request::new(message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<Duration>) -> Error {
        Error::Unavailable { message: "x".into(), reason: None, retry_after }
    }

    #[test]
    fn the_brokers_word_is_the_least_to_wait() {
        let told = Duration::from_secs(4);
        for dice in [0.0, 0.5, 0.999] {
            let pause = wait(&unavailable(Some(told)), 1, false, dice).unwrap();
            assert!(pause >= told && pause <= told + told / 10, "{pause:?}");
        }
    }

    #[test]
    fn waits_grow_stay_bounded_and_differ() {
        let error = unavailable(None);
        let pauses: Vec<_> = (1..40).map(|made| wait(&error, made, false, 0.5).unwrap()).collect();
        assert!(pauses.is_sorted() && pauses[0] < pauses[1]);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_WAIT));
        assert_ne!(wait(&error, 3, false, 0.1), wait(&error, 3, false, 0.9));
    }

    #[test]
    fn what_somebody_has_to_mend_is_not_repeated() {
        let dead = Error::NeedsConsent { message: "x".into(), link: None, interaction: false };
        assert_eq!(wait(&dead, 1, true, 0.5), None);
        assert_eq!(wait(&Error::Deadline, 1, true, 0.5), None);
    }
}
