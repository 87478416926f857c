//! A broker that loses its database in the middle of a refresh loses nothing else.

use std::time::Duration;

use anyhow::Result;
use e2e::cast::provider::settings::Rotation;
use e2e::world::crowd::until;
use e2e::world::{ALICE, Engine, Ledger, Operator, World};
use token_broker_client::v1;

const PATIENCE: Duration = Duration::from_secs(60);

async fn a_broker_on_a_cable() -> Result<Option<World>> {
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(None);
    }
    let world = World::builder()
        .cables()
        .without_adapters()
        .app(|app| app.rotation = v1::Rotation::Strict.into())
        .provider(|provider| provider.rotation = Rotation::Strict)
        .start()
        .await?;
    world.connect(ALICE).await?;
    Ok(Some(world))
}

/// Cuts the cable while the provider is at it, and waits for what the broker does with the answer.
async fn cut_in_the_middle(world: &mut World) -> Result<()> {
    world.provider.change(|provider| provider.answer_latency_ms = 1000);
    let (operator, before) = (world.operator.clone(), world.refreshes());
    let asking = async { drop(refresh(&operator).await) };
    let truth = world.provider.truth();
    let house = &mut world.house;
    let cutting = async {
        until("the call", PATIENCE, async || Ok(truth.stats().in_flight == 1)).await?;
        house.replica(0)?.cable()?.cut();
        until("the answer in a file", PATIENCE, async || {
            Ok(house.replicas()[0].spilled()?.len() == 1)
        })
        .await
    };
    tokio::select! {
        // Whoever asked may give up or not; it is not about them.
        cut = cutting => cut?,
        () = async { asking.await; std::future::pending().await } => {}
    }
    world.provider.change(|provider| provider.answer_latency_ms = 0);
    assert_eq!(world.refreshes(), before + 1);
    Ok(())
}

async fn refresh(operator: &Operator) -> Result<v1::Account, token_broker_client::Error> {
    let admin = operator.admin();
    let ask = v1::RefreshAccountRequest { name: ALICE.to_owned(), audience: String::new() };
    admin.ask(admin.accounts().refresh_account(ask)).await
}

/// What the provider handed out last is what the broker spends next.
async fn nothing_is_lost(world: &World, generation: i64) -> Result<()> {
    let account = world.operator.account(ALICE).await?;
    assert_eq!((account.state(), account.generation), (v1::AccountState::Active, generation));
    assert_eq!(world.house.replicas()[0].spilled()?, Vec::<std::path::PathBuf>::new());
    let mut ledger = Ledger::of(&world.house).await?;
    assert_eq!(ledger.under_way().await?, 0);
    let account = refresh(&world.operator).await?;
    assert_eq!(account.generation, generation + 1);
    let service = world.service(&format!("crm-{generation}")).await?;
    let token = service.access_token(ALICE).await?;
    let truth = world.provider.truth();
    assert!(truth.is_live(token.expose()));
    assert_eq!(truth.stats().reuse, 0);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_comes_while_the_database_is_gone_is_spilled_and_stored_when_it_is_back()
-> Result<()> {
    let Some(mut world) = a_broker_on_a_cable().await? else { return Ok(()) };
    cut_in_the_middle(&mut world).await?;
    world.house.replica(0)?.cable()?.mend();
    until("it is stored", PATIENCE, async || Ok(world.house.replicas()[0].spilled()?.is_empty()))
        .await?;
    nothing_is_lost(&world, 2).await?;
    world.end().await
}

#[tokio::test]
async fn a_broker_that_is_killed_with_an_answer_in_a_file_stores_it_before_anything_else()
-> Result<()> {
    let Some(mut world) = a_broker_on_a_cable().await? else { return Ok(()) };
    cut_in_the_middle(&mut world).await?;
    let broker = world.house.replica(0)?;
    broker.process()?.kill();
    let mut too_early = broker.serve()?;
    let ended = too_early.wait(PATIENCE).await?;
    assert!(!ended.success(), "without its database it does not serve");
    assert_eq!(broker.spilled()?.len(), 1, "and keeps the file");
    broker.cable()?.mend();
    broker.open().await?;
    nothing_is_lost(&world, 2).await?;
    world.end().await
}
