//! What is handed out a second: a bare tonic server that answers with a message of the same size, then the broker, strict and
//! relaxed, at half load, overloaded, and three of them on one PostgreSQL.
//!
//! All are processes of their own, asked by the same callers. Next: [`super::load`] asks.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokenbroker_proto::v1;
use tokenbroker_proto::v1::token_service_server::{TokenService, TokenServiceServer};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::apart::Apart;
use super::load::{Ask, Crowd, Seen, Target};
use super::prober::{Probe, Probed};
use crate::world::process::Process;
use crate::world::{ALICE, Engine, World, ports};

/// Enough to saturate either server: with 256 a strict broker waits for its disk a tenth of the time.
const CALLERS: usize = 512;
/// Times as many as that when there are too many.
const OVERLOAD: usize = 10;

/// Measures all of it for `seconds` each.
pub(super) async fn measure(seconds: u64) -> Result<Value> {
    let span = Duration::from_secs(seconds);
    let full = Crowd { callers: CALLERS, rate: None, span };
    let world = World::builder().without_adapters().start().await?;
    let (tokens, sessions) = targets(&world).await?;
    let answer = tokens.once().await?;
    let (mut echo, address) = start_echo(&world, &answer)?;
    let bare = Target { addresses: vec![address], processes: vec![echo.id()], ..tokens.clone() };
    let bare = bare.run(full).await?;
    echo.kill();
    let strict = tokens.run(full).await?;
    let half = Crowd { rate: Some(strict.per_second() / 2.0), ..full };
    let half = tokens.run(half).await?;
    let probe = Probe { broker: tokens.addresses[0], key: tokens.key.to_str()?.to_owned() };
    let prober = Apart::start("--probe", &probe, false).await?;
    let crowd = tokens.run(Crowd { callers: CALLERS * OVERLOAD, ..full }).await?;
    let Probed { answered, refused } = prober.stop().await?;
    let opened = sessions.run(full).await?;
    world.end().await?;

    let world = World::builder().without_adapters().relaxed().start().await?;
    let relaxed = targets(&world).await?.0.run(full).await?;
    world.end().await?;
    let mut figures = json!({
        "answer_bytes": prost::Message::encoded_len(&answer),
        "callers": CALLERS,
        "echo": bare.figures(),
        "get_access_token": strict.figures(),
        "ratio": strict.per_second() / bare.per_second(),
        "half_load": half.figures(),
        "overload": crowd.figures(),
        "overload_prober": Seen::of(answered, refused, span).figures(),
        "ratio_overload": crowd.per_second() / strict.per_second(),
        "open_session": opened.figures(),
        "relaxed": relaxed.figures(),
        "ratio_relaxed": relaxed.per_second() / bare.per_second(),
    });
    if Engine::each()?.contains(&Engine::Postgres) {
        figures["postgres"] = on_postgres(full).await?;
    }
    Ok(figures)
}

/// One broker and three on a PostgreSQL that waits for the disk.
async fn on_postgres(full: Crowd) -> Result<Value> {
    let mut seen = Vec::new();
    for replicas in [1, 3] {
        let world = World::builder().without_adapters().replicas(replicas).in_earnest(50.0);
        let world = world.start().await?;
        seen.push(targets(&world).await?.0.run(full).await?);
        world.end().await?;
    }
    let [one, three] = &seen[..] else { return Ok(Value::Null) };
    Ok(json!({
        "one": one.figures(),
        "three": three.figures(),
        "ratio": three.per_second() / one.per_second(),
    }))
}

/// Alice's tokens for a service, and her mail logins through an adapter, of all brokers of a world.
async fn targets(world: &World) -> Result<(Target, Target)> {
    let account = world.connect(ALICE).await?;
    let fill = |caller: &mut v1::Caller| {
        let accounts = Some(v1::AccountSelector { all: true, ..Default::default() });
        caller.rights =
            vec![v1::Right { accounts, audiences: vec!["mail".to_owned()], ..Default::default() }];
    };
    let (_, service) = world.operator.caller("bench", v1::CallerRole::Service, fill).await?;
    let protocols = |caller: &mut v1::Caller| {
        caller.protocols = vec![v1::MailProtocol::Imap.into()];
    };
    let (_, adapter) = world.operator.caller("door", v1::CallerRole::Adapter, protocols).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let addresses: Vec<SocketAddr> =
        world.house.replicas().iter().map(|replica| replica.doors().grpc).collect();
    let processes = world.house.process_ids();
    let target = |key: &str, ask| -> Result<Target> {
        let (addresses, processes) = (addresses.clone(), processes.clone());
        Ok(Target { addresses, processes, key: format!("Bearer {key}").parse()?, ask })
    };
    Ok((target(&service, Ask::Token)?, target(&adapter, Ask::Session(password))?))
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
