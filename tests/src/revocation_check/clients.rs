//! The way to one broker, through cables that can be cut, and what its answers are worth.
//!
//! Nothing is repeated here and no key belongs to a connection: each call brings its own. Invariant: what does not say for
//! certain that it was refused leaves open whether it was done. Next: [`super::load`], [`super::desk`].

use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use token_broker_client::v1::ErrorReason;
use token_broker_client::v1::mail_login_service_client::MailLoginServiceClient;
use token_broker_client::v1::token_service_client::TokenServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt;

use super::history::Heard;
use crate::cast::cable::Cable;
use crate::world::doors::BrokerDoors;

/// `Bearer ..`, as a call shows it.
pub(super) type Key = MetadataValue<Ascii>;

/// Connections for calls to one broker; it takes 128 calls at once on each.
const CONNECTIONS: usize = 2;
const CONNECT: Duration = Duration::from_secs(2);

/// A broker as its clients see it.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) number: u8,
    calls: Vec<Channel>,
    admin: Channel,
    operator: Key,
    cables: [Cable; 2],
}

impl Broker {
    /// Lays the cables; nothing is dialled yet.
    pub(super) async fn reach(number: u8, doors: &BrokerDoors, operator: Key) -> Result<Self> {
        let cables = [Cable::lay(doors.grpc).await?, Cable::lay(doors.admin).await?];
        let dial = |cable: &Cable| {
            let endpoint = Endpoint::from_shared(format!("http://{}", cable.address()))?;
            anyhow::Ok(endpoint.tcp_nodelay(true).connect_timeout(CONNECT).connect_lazy())
        };
        let calls = (0..CONNECTIONS).map(|_| dial(&cables[0])).collect::<Result<_>>()?;
        let admin = dial(&cables[1])?;
        Ok(Self { number, calls, admin, operator, cables })
    }

    /// Cuts it off from all its clients.
    pub(super) fn cut(&self) {
        self.cables.iter().for_each(Cable::cut);
    }

    /// Undoes that.
    pub(super) fn mend(&self) {
        self.cables.iter().for_each(Cable::mend);
    }

    pub(super) fn tokens(&self, turn: u64) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel(turn))
    }

    pub(super) fn logins(&self, turn: u64) -> MailLoginServiceClient<Channel> {
        MailLoginServiceClient::new(self.channel(turn))
    }

    /// The operators' door.
    pub(super) fn admin(&self) -> (Channel, Key) {
        (self.admin.clone(), self.operator.clone())
    }

    fn channel(&self, turn: u64) -> Channel {
        self.calls[usize::from(turn % 2 == 1) % self.calls.len()].clone()
    }
}

/// A message with its key and its deadline.
pub(super) fn signed<T>(key: &Key, deadline: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", key.clone());
    request.set_timeout(deadline);
    request
}

/// What an operator hears.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// It was done.
    Done(T),
    /// It was not done, for this reason.
    Refused(ErrorReason),
    /// Nothing certain.
    Open,
}

/// Waits for an answer, no longer than `deadline`.
pub(super) async fn heard<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Told<T> {
    // A broker that is stopped does not keep to the deadline it was told.
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Told::Done(answer.into_inner()),
        Ok(Err(status)) => refusal(&status).map_or(Told::Open, Told::Refused),
        Err(_) => Told::Open,
    }
}

/// The reason, if it is certain that nothing was done.
fn refusal(status: &Status) -> Option<ErrorReason> {
    let told = status.get_details_error_info()?.reason;
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{told}"))?;
    is_certain(reason).then_some(reason)
}

/// What a refusal inside an answer is worth.
pub(super) fn heard_of(reason: ErrorReason) -> Heard {
    if is_certain(reason) { Heard::Refused } else { Heard::Unsure }
}

/// A broker that cannot do it, or in which something is wrong, may have done it before.
const fn is_certain(reason: ErrorReason) -> bool {
    use ErrorReason::{BrokerUnavailable, Internal, Unspecified};
    !matches!(reason, BrokerUnavailable | Internal | Unspecified)
}
