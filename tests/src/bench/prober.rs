//! Somebody who asks now and then and does nothing else, in a process [`apart`]: how long an overloaded broker takes to refuse.
//!
//! Those who overload it cannot tell: they share the processor with a thousand others of themselves. Next: [`super::calls`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokenbroker_proto::v1;
use tokenbroker_proto::v1::token_service_client::TokenServiceClient;
use tokio::time::MissedTickBehavior;
use tonic::{Code, Request};

use super::apart;
use super::load::connect;
use crate::world::ALICE;

/// Between two calls.
const PACE: Duration = Duration::from_millis(10);

/// Whom to ask.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Probe {
    /// Where the broker answers.
    pub(super) broker: SocketAddr,
    /// A service's key, as `authorization` has it.
    pub(super) key: String,
}

/// How long it took, in microseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Probed {
    /// To answer.
    pub(super) answered: Vec<u64>,
    /// To refuse for want of room.
    pub(super) refused: Vec<u64>,
}

/// Asks, in a process [`apart`].
///
/// # Errors
/// Something other than a want of room is answered.
pub async fn probe() -> Result<()> {
    let Probe { broker, key } = apart::plan()?;
    let key: tonic::metadata::MetadataValue<_> = key.parse()?;
    let mut tokens = TokenServiceClient::new(connect(broker).await?);
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probed = Probed::default();
    let mut end = std::pin::pin!(apart::begun()?);
    loop {
        tokio::select! {
            ended = &mut end => { ended?; break }
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        let wish = v1::GetAccessTokenRequest { account: ALICE.to_owned(), ..Default::default() };
        let mut request = Request::new(wish);
        request.metadata_mut().insert("authorization", key.clone());
        let answer = tokens.get_access_token(request).await;
        let took = u64::try_from(asked.elapsed().as_micros())?;
        match answer {
            Ok(_) => probed.answered.push(took),
            Err(status) if status.code() == Code::Unavailable => probed.refused.push(took),
            Err(status) => bail!("the prober was answered with {status}"),
        }
    }
    apart::ended(&probed)
}
