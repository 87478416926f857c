//! Who asks one broker gets what another broker is just fetching.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::cast::provider::settings::Rotation;
use e2e::world::crowd::{insist, insist_at, until};
use e2e::world::{ALICE, Engine, Ledger, Timelapse, World};
use token_broker_client::v1;

/// A lease lasts this long; whoever only waits for its end comes later.
const LEASE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_caller_at_one_broker_gets_the_token_that_another_is_fetching() -> Result<()> {
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(());
    }
    let world = World::builder()
        .replicas(3)
        .without_adapters()
        .app(|app| app.rotation = v1::Rotation::Strict.into())
        .provider(|provider| provider.rotation = Rotation::Strict)
        .start()
        .await?;
    world.connect(ALICE).await?;
    let services = world.service_everywhere("crm").await?;
    let past_life = Duration::from_secs(3700);
    world.provider.advance(past_life);
    Ledger::of(&world.house).await?.age(past_life).await?;
    world.provider.change(|provider| provider.latency_ms = 2000);
    let alice = [ALICE.to_owned()];
    let fetching = async {
        let token = insist(&services[0], &alice).await?;
        anyhow::Ok((token, Instant::now()))
    };
    let joining = async {
        let truth = world.provider.truth();
        until("it is being fetched", LEASE, async || Ok(truth.stats().in_flight == 1)).await?;
        let tokens = insist_at(&services[1..], &alice).await?;
        anyhow::Ok((tokens, Instant::now()))
    };
    let ((token, fetched), (joined, learned)) = tokio::try_join!(fetching, joining)?;
    println!("the others had it {:?} later", learned.saturating_duration_since(fetched));
    assert_eq!(world.refreshes(), 1);
    assert!(joined.iter().all(|theirs| *theirs == token));
    assert!(learned.saturating_duration_since(fetched) < LEASE / 3, "they were told, or looked");
    world.end().await
}

#[tokio::test]
async fn a_caller_who_joins_what_the_schedule_has_begun_gets_its_token() -> Result<()> {
    let lapse = Timelapse::start(Engine::Sqlite, 1, 50.0).await?;
    assert!(lapse.ask().await?.iter().all(Result::is_ok), "it is asked for");
    lapse.provider.change(|provider| provider.latency_ms = 2000);
    let past_life = Duration::from_secs(3700);
    lapse.pass(past_life, past_life).await;
    let truth = lapse.provider.truth();
    until("the schedule is at it", LEASE, async || Ok(truth.stats().in_flight == 1)).await?;
    let answers = lapse.ask().await?;
    let live = answers.iter().flatten().filter(|token| truth.is_live(&token.access_token));
    assert_eq!((live.count(), lapse.refreshes()), (1, 1), "{answers:?}");
    lapse.end().await
}
