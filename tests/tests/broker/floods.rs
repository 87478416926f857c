//! One caller's floods at a gRPC door: what is too big is refused, and the others go on (threat T34).

use anyhow::{Context, Result, ensure};
use e2e::world::{ALICE, World};
use token_broker_client::v1;
use token_broker_client::v1::token_service_client::TokenServiceClient;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

/// More calls than one connection may have under way, many times over.
const CALLS: usize = 2_000;

#[derive(Clone)]
struct Caller {
    channel: Channel,
    key: MetadataValue<Ascii>,
}

impl Caller {
    async fn of(world: &World, id: &str) -> Result<Self> {
        let key = world.operator.service_key(id).await?;
        let channel = Endpoint::from_shared(format!("http://{}", world.house.doors().grpc))?;
        Ok(Self { channel: channel.connect().await?, key: format!("Bearer {key}").parse()? })
    }

    async fn ask(&self, account: &str, padding: &str) -> Result<(), Code> {
        let ask = v1::GetAccessTokenRequest { account: account.to_owned(), ..Default::default() };
        let mut request = Request::new(ask);
        request.metadata_mut().insert("authorization", self.key.clone());
        if !padding.is_empty() {
            let padding = padding.parse().map_err(|_| Code::Internal)?;
            request.metadata_mut().insert("x-padding", padding);
        }
        let mut client = TokenServiceClient::new(self.channel.clone());
        client.get_access_token(request).await.map(drop).map_err(|status| status.code())
    }
}

#[tokio::test]
async fn t34_messages_and_headers_that_are_too_big_are_refused_and_those_that_are_not_are_served()
-> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let caller = Caller::of(&world, "crm").await?;
    assert_eq!(caller.ask(ALICE, &"x".repeat(8 * 1024)).await, Ok(()));
    let long = caller.ask(&"x".repeat(65 * 1024), "").await;
    assert_eq!(long, Err(Code::OutOfRange), "more than 64 KiB are not read");
    let other = Caller::of(&world, "other").await?;
    let headers = other.ask(ALICE, &"x".repeat(17 * 1024)).await;
    ensure!(headers.is_err(), "more than 16 KiB of headers are taken");
    assert_eq!(caller.ask(ALICE, "").await, Ok(()), "the caller before goes on");
    world.end().await
}

#[tokio::test]
async fn t34_a_caller_that_floods_its_connection_takes_nobody_elses_place() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let (rogue, honest) = (Caller::of(&world, "rogue").await?, Caller::of(&world, "crm").await?);
    honest.ask(ALICE, "").await.ok().context("nothing works")?;
    let mut flood = JoinSet::new();
    for _ in 0..CALLS {
        let rogue = rogue.clone();
        flood.spawn(async move { rogue.ask("nobody@example.test", "").await });
    }
    let mut served = 0;
    while !flood.is_empty() {
        assert_eq!(honest.ask(ALICE, "").await, Ok(()), "after {served} calls");
        served += 1;
        while let Some(ended) = flood.try_join_next() {
            let code = ended?.err().context("a token of nobody")?;
            ensure!(matches!(code, Code::PermissionDenied | Code::Unavailable), "{code:?}");
        }
    }
    assert!(served > 0);
    world.end().await
}
