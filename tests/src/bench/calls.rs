//! Calls a second: a bare tonic server that answers with a message of the same size, then the broker.
//!
//! Both are processes of their own, both are called by the same client over the same number of connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokenbroker_proto::v1;
use tokenbroker_proto::v1::token_service_client::TokenServiceClient;
use tokenbroker_proto::v1::token_service_server::{TokenService, TokenServiceServer};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::world::process::Process;
use crate::world::{ALICE, World, ports};

const CONNECTIONS: usize = 4;
const CALLERS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures both for `seconds` each.
pub(super) async fn measure(seconds: u64) -> Result<Value> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let role = v1::CallerRole::Service;
    let fill = |caller: &mut v1::Caller| {
        let accounts = Some(v1::AccountSelector { all: true, ..Default::default() });
        caller.rights =
            vec![v1::Right { accounts, audiences: vec!["mail".to_owned()], ..Default::default() }];
    };
    let (_, key) = world.operator.caller("bench", role, fill).await?;
    let broker = world.house.doors().grpc;
    let answer = Load::new(broker, &key).await?.one().await?;
    let size = prost::Message::encoded_len(&answer);

    let (mut echo, address) = start_echo(&world, &answer)?;
    let bare = Load::new(address, &key).await?.run(Duration::from_secs(seconds)).await?;
    echo.kill();
    let real = Load::new(broker, &key).await?.run(Duration::from_secs(seconds)).await?;
    world.end().await?;
    Ok(json!({
        "answer_bytes": size,
        "callers": CALLERS,
        "echo": bare.figures(),
        "get_access_token": real.figures(),
        "ratio": real.per_second() / bare.per_second(),
    }))
}

/// Starts this program again as the echo.
fn start_echo(world: &World, answer: &v1::GetAccessTokenResponse) -> Result<(Process, SocketAddr)> {
    let address = ports::free()?;
    let file = world.house.folder().join("answer");
    std::fs::write(&file, prost::Message::encode_to_vec(answer))?;
    let arguments = ["--echo".into(), address.to_string().into(), file.into_os_string()];
    let log = world.house.folder().join("echo.log");
    let process = Process::spawn("echo", &std::env::current_exe()?, &arguments, &[], &log)?;
    Ok((process, address))
}

/// Serves the bare echo on `address` for ever: every call is answered with the message in `file`.
///
/// # Errors
/// The port is taken or the file holds no answer.
pub async fn serve_echo(address: SocketAddr, file: &std::path::Path) -> Result<()> {
    let answer = prost::Message::decode(std::fs::read(file)?.as_slice())?;
    let service = TokenServiceServer::new(Echo(answer));
    Ok(Server::builder().tcp_nodelay(true).add_service(service).serve(address).await?)
}

struct Echo(v1::GetAccessTokenResponse);

#[tonic::async_trait]
impl TokenService for Echo {
    async fn get_access_token(
        &self,
        _: Request<v1::GetAccessTokenRequest>,
    ) -> Result<Response<v1::GetAccessTokenResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_get_access_tokens(
        &self,
        _: Request<v1::BatchGetAccessTokensRequest>,
    ) -> Result<Response<v1::BatchGetAccessTokensResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn get_token_status(
        &self,
        _: Request<v1::GetTokenStatusRequest>,
    ) -> Result<Response<v1::GetTokenStatusResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }
}

/// Callers that ask again as soon as they are answered.
struct Load {
    channels: Vec<Channel>,
    key: MetadataValue<Ascii>,
}

impl Load {
    async fn new(address: SocketAddr, key: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let began = Instant::now();
        let mut channels = Vec::new();
        while channels.len() < CONNECTIONS {
            match endpoint.connect().await {
                Ok(channel) => channels.push(channel),
                Err(error) if began.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(Self { channels, key: format!("Bearer {key}").parse()? })
    }

    async fn one(&self) -> Result<v1::GetAccessTokenResponse> {
        let channel = self.channels.first().context("no channel")?.clone();
        Ok(ask(&mut TokenServiceClient::new(channel), &self.key).await?)
    }

    async fn run(self, span: Duration) -> Result<Seen> {
        let mut callers = JoinSet::new();
        let start = Instant::now() + WARM_UP;
        let end = start + span;
        for caller in 0..CALLERS {
            let channel = self.channels[caller % CONNECTIONS].clone();
            callers.spawn(keep_asking(channel, self.key.clone(), start, end));
        }
        let mut micros = Vec::new();
        while let Some(seen) = callers.join_next().await {
            micros.extend(seen??);
        }
        micros.sort_unstable();
        Ok(Seen { micros, span })
    }
}

async fn keep_asking(
    channel: Channel,
    key: MetadataValue<Ascii>,
    start: Instant,
    end: Instant,
) -> Result<Vec<u64>, Status> {
    let mut client = TokenServiceClient::new(channel);
    let mut micros = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= end {
            return Ok(micros);
        }
        ask(&mut client, &key).await?;
        if asked >= start {
            micros.push(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
}

async fn ask(
    client: &mut TokenServiceClient<Channel>,
    key: &MetadataValue<Ascii>,
) -> Result<v1::GetAccessTokenResponse, Status> {
    let ask = v1::GetAccessTokenRequest { account: ALICE.to_owned(), ..Default::default() };
    let mut request = Request::new(ask);
    request.metadata_mut().insert("authorization", key.clone());
    Ok(client.get_access_token(request).await?.into_inner())
}

/// How long each call took, in order.
struct Seen {
    micros: Vec<u64>,
    span: Duration,
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.span.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn at(&self, percent: usize) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        self.micros.get(last * percent / 100).copied().unwrap_or(0) as f64 / 1000.0
    }

    fn figures(&self) -> Value {
        json!({ "per_second": self.per_second(), "p50_ms": self.at(50), "p99_ms": self.at(99) })
    }
}
