//! Callers that ask again and again, and what they saw.
//!
//! Never a client of the product: a bare tonic channel, so that the echo and the broker are asked alike. A caller that is
//! refused for want of room comes again when it was told to, as every client should. Next: [`super::calls`] says whom to ask.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokenbroker_proto::v1;
use tokenbroker_proto::v1::mail_login_service_client::MailLoginServiceClient;
use tokenbroker_proto::v1::token_service_client::TokenServiceClient;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::machine;
use crate::world::ALICE;

/// Connections, whoever is asked and by however many: calls on one connection share their system calls, so another number
/// would be another measurement. The broker takes 128 calls at once on each.
const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Alice's token.
    Token,
    /// A mail login with this password.
    Session(String),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// So many at once.
    pub(super) callers: usize,
    /// So many calls a second in all; without it each asks again as soon as it is answered.
    pub(super) rate: Option<f64>,
    /// For so long.
    pub(super) span: Duration,
}

/// Whom to ask, as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) addresses: Vec<SocketAddr>,
    /// The processes that answer there.
    pub(super) processes: Vec<u32>,
    pub(super) key: MetadataValue<Ascii>,
    pub(super) ask: Ask,
}

impl Target {
    /// A call of one's own; the length of the answer.
    pub(super) async fn once(&self) -> Result<v1::GetAccessTokenResponse> {
        let address = self.addresses.first().context("nobody to ask")?;
        let mut client = TokenServiceClient::new(connect(*address).await?);
        let answer = client.get_access_token(self.token_request()).await?;
        Ok(answer.into_inner())
    }

    /// Has a crowd ask.
    ///
    /// # Errors
    /// Nobody listens, or something other than a want of room is answered.
    pub(super) async fn run(&self, crowd: Crowd) -> Result<Seen> {
        let mut channels = Vec::new();
        for number in 0..CONNECTIONS {
            channels.push(connect(self.addresses[number % self.addresses.len()]).await?);
        }
        let start = Instant::now() + WARM_UP;
        let mut running = JoinSet::new();
        for number in 0..crowd.callers {
            let channel = channels[number % CONNECTIONS].clone();
            running.spawn(self.clone().keep_asking(channel, (number, crowd), start));
        }
        tokio::time::sleep_until(start.into()).await;
        let (spent, busy) = (self.spent()?, machine::busy_seconds()?);
        let mut seen = Seen { span: crowd.span, ..Seen::default() };
        while let Some(of_one) = running.join_next().await {
            let (answered, refused) = of_one??;
            seen.answered.extend(answered);
            seen.refused.extend(refused);
        }
        seen.spent = self.spent()? - spent;
        seen.busy = machine::busy_seconds()? - busy;
        seen.answered.sort_unstable();
        seen.refused.sort_unstable();
        Ok(seen)
    }

    /// Seconds of processor time that those who answer have taken.
    fn spent(&self) -> Result<f64> {
        self.processes.iter().map(|process| machine::processor_seconds(*process)).sum()
    }

    async fn keep_asking(
        self,
        channel: Channel,
        (number, crowd): (usize, Crowd),
        start: Instant,
    ) -> Result<(Vec<u64>, Vec<u64>), Status> {
        let end = start + crowd.span;
        let (mut tokens, mut logins) =
            (TokenServiceClient::new(channel.clone()), MailLoginServiceClient::new(channel));
        let (mut answered, mut refused) = (Vec::new(), Vec::new());
        let pace = crowd.rate.map(|rate| {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand callers")]
            let callers = crowd.callers as f64;
            Duration::from_secs_f64(callers / rate)
        });
        let share = u32::try_from(number).unwrap_or(0);
        let of = u32::try_from(crowd.callers).unwrap_or(1);
        let mut next = Instant::now() + pace.map_or(Duration::ZERO, |pace| pace / of * share);
        loop {
            if let Some(pace) = pace {
                tokio::time::sleep_until(next.into()).await;
                next = (next + pace).max(Instant::now());
            }
            let asked = Instant::now();
            if asked >= end {
                return Ok((answered, refused));
            }
            let answer = match &self.ask {
                Ask::Token => tokens.get_access_token(self.token_request()).await.map(drop),
                Ask::Session(secret) => {
                    logins.open_session(self.session_request(secret)).await.map(drop)
                }
            };
            let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            let counts = asked >= start;
            match answer {
                Ok(()) if counts => answered.push(micros),
                Ok(()) => {}
                Err(status) if status.code() == Code::Unavailable => {
                    if counts {
                        refused.push(micros);
                    }
                    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
                    let told = told.ok_or_else(|| Status::internal("refused without a time"))?;
                    // Spread a little, as clients are told to.
                    let jitter = told / 4 / of * share;
                    tokio::time::sleep_until((Instant::now() + told + jitter).min(end).into())
                        .await;
                }
                Err(status) => return Err(status),
            }
        }
    }

    fn token_request(&self) -> Request<v1::GetAccessTokenRequest> {
        self.signed(v1::GetAccessTokenRequest { account: ALICE.to_owned(), ..Default::default() })
    }

    fn session_request(&self, secret: &str) -> Request<v1::OpenSessionRequest> {
        self.signed(v1::OpenSessionRequest {
            protocol: v1::MailProtocol::Imap.into(),
            login_name: ALICE.to_owned(),
            secret: secret.to_owned(),
            client_address: "192.0.2.7".to_owned(),
            ..Default::default()
        })
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        request
    }
}

/// A connection, however long the server takes to come up.
pub(super) async fn connect(address: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let began = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if began.elapsed() > Duration::from_secs(10) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// How long each call took, in microseconds and in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    answered: Vec<u64>,
    refused: Vec<u64>,
    span: Duration,
    /// Seconds of processor time that those who answer took meanwhile, and the whole machine.
    spent: f64,
    busy: f64,
}

impl Seen {
    /// Calls of a while that were answered or refused, after so many microseconds each.
    pub(super) fn of(mut answered: Vec<u64>, mut refused: Vec<u64>, span: Duration) -> Self {
        answered.sort_unstable();
        refused.sort_unstable();
        Self { answered, refused, span, ..Self::default() }
    }

    /// So many percent of them took no more milliseconds than this.
    pub(super) fn at(&self, percent: usize) -> f64 {
        at(&self.answered, percent)
    }

    /// Calls a second that were answered.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn per_second(&self) -> f64 {
        self.answered.len() as f64 / self.span.as_secs_f64()
    }

    /// What was seen.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn figures(&self) -> Value {
        let calls = self.answered.len().max(1) as f64;
        json!({
            "per_second": self.per_second(),
            "server_us_per_call": self.spent * 1e6 / calls,
            "machine_us_per_call": self.busy * 1e6 / calls,
            "p50_ms": at(&self.answered, 50),
            "p99_ms": at(&self.answered, 99),
            "refused": self.refused.len(),
            "refused_p50_ms": at(&self.refused, 50),
            "refused_p99_ms": at(&self.refused, 99),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn at(micros: &[u64], percent: usize) -> f64 {
    let last = micros.len().saturating_sub(1);
    micros.get(last * percent / 100).copied().unwrap_or(0) as f64 / 1000.0
}
