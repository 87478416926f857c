//! The attack of [`super::guess`]: adapters that guess at their pace and do not wait as they are told.
//!
//! The guesses are what a broker checks at full length: the id of a real credential with a wrong secret, each another, from many
//! networks. It runs [`apart`], in the scheduler's idle class: it stands for fifty machines and takes no time from the broker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use token_broker_client::v1;
use tokenbroker_proto::v1::mail_login_service_client::MailLoginServiceClient;
use tokenbroker_proto::v1::open_session_response::Outcome as Answer;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::apart;
use super::load::connect;
use crate::timing::with_other_secret;
use crate::world::ALICE;

/// Guesses a second of each adapter.
const PACE: u32 = 200;
/// Guesses of one adapter that are under way at one time.
const AT_ONCE: usize = 64;
/// Wrong secrets of each adapter; it begins again after them.
const SECRETS: usize = 200;
/// How long it guesses before anybody looks.
const WARM_UP: Duration = Duration::from_secs(2);

/// What to attack.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attack {
    /// Where the broker answers.
    pub(super) broker: SocketAddr,
    /// One key for each adapter.
    pub(super) keys: Vec<String>,
    /// The credential that is guessed at.
    pub(super) password: String,
}

/// How an attack went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Guesses that were answered.
    pub(super) guesses: u64,
    /// Guesses that the broker had no room for.
    pub(super) shed: u64,
    /// For how long.
    pub(super) seconds: f64,
}

/// Guesses, in a process [`apart`].
///
/// # Errors
/// A guess is let in, or the broker is away.
pub async fn attack() -> Result<()> {
    let Attack { broker, keys, password } = apart::plan()?;
    let mut guessers = JoinSet::new();
    let counts = Arc::new(Counts::default());
    let of = u32::try_from(keys.len() * AT_ONCE)?;
    for (adapter, key) in keys.iter().enumerate() {
        let (secrets, key) = (wrong_secrets(&password, adapter)?, format!("Bearer {key}").parse()?);
        let guesser = Guesser { channel: connect(broker).await?, key, secrets, adapter };
        for lane in 0..AT_ONCE {
            // Spread over the time of a round: they are strangers to each other.
            let offset = pace() / of * u32::try_from(adapter * AT_ONCE + lane)?;
            guessers.spawn(guesser.clone().guess(lane, offset, Arc::clone(&counts)));
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let end = apart::begun()?;
    let (began, before) = (Instant::now(), counts.now());
    tokio::select! {
        ended = guessers.join_next() => bail!("a guesser ended: {ended:?}"),
        ended = end => ended?,
    }
    let (now, seconds) = (counts.now(), began.elapsed().as_secs_f64());
    apart::ended(&Outcome { guesses: now.0 - before.0, shed: now.1 - before.1, seconds })
}

/// The time between two guesses of a lane.
fn pace() -> Duration {
    Duration::from_secs(1) * u32::try_from(AT_ONCE).unwrap_or(1) / PACE
}

#[derive(Debug, Default)]
struct Counts {
    guesses: AtomicU64,
    shed: AtomicU64,
}

impl Counts {
    fn now(&self) -> (u64, u64) {
        (self.guesses.load(Ordering::Relaxed), self.shed.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Debug)]
struct Guesser {
    channel: Channel,
    key: MetadataValue<Ascii>,
    secrets: Arc<Vec<String>>,
    adapter: usize,
}

impl Guesser {
    async fn guess(self, lane: usize, offset: Duration, counts: Arc<Counts>) -> Result<()> {
        let start = tokio::time::Instant::now() + offset;
        let mut ticks = tokio::time::interval_at(start, pace());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let address = format!("192.0.{}.{lane}", self.adapter);
        let mut door = MailLoginServiceClient::new(self.channel);
        for secret in self.secrets.iter().cycle().skip(lane * self.secrets.len() / AT_ONCE) {
            ticks.tick().await;
            let mut request = Request::new(login(secret, &address));
            request.metadata_mut().insert("authorization", self.key.clone());
            match door.open_session(request).await.map(|answer| answer.into_inner().outcome) {
                Ok(Some(Answer::Denial(_))) => counts.guesses.fetch_add(1, Ordering::Relaxed),
                Err(status) if status.code() == Code::Unavailable => {
                    // A broker that sheds load refuses some: that is its right.
                    counts.shed.fetch_add(1, Ordering::Relaxed)
                }
                answer => bail!("a guess was answered with {answer:?}"),
            };
        }
        Ok(())
    }
}

/// A login as Alice.
pub(super) fn login(secret: &str, address: &str) -> v1::OpenSessionRequest {
    v1::OpenSessionRequest {
        protocol: v1::MailProtocol::Imap.into(),
        login_name: ALICE.to_owned(),
        secret: secret.to_owned(),
        client_address: address.to_owned(),
        ..Default::default()
    }
}

/// Secrets of the right form that are not the credential's.
fn wrong_secrets(password: &str, adapter: usize) -> Result<Arc<Vec<String>>> {
    let seed = |number: usize| u64::try_from(adapter * SECRETS + number + 1);
    let all = (0..SECRETS).map(|number| with_other_secret(password, seed(number)?));
    Ok(Arc::new(all.collect::<Result<_>>()?))
}
