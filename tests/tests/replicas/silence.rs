//! A provider that asks for silence gets it, however it says so and whatever happens meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::world::crowd::{ask, until};
use e2e::world::{ALICE, Engine, Timelapse, World};
use token_broker_client::v1::{self, ErrorReason};

const ACCOUNTS: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn too_many(retry_after: &str) -> Rule {
    let retry_after = Some(retry_after.to_owned());
    Rule::refresh(Fault::Status { status: 429, retry_after }).times(1)
}

/// Has one account refreshed, whose token lives.
async fn refresh(lapse: &Timelapse) -> Result<v1::Account, token_broker_client::Error> {
    let admin = lapse.operator.admin();
    let ask =
        v1::RefreshAccountRequest { name: lapse.mailboxes[0].clone(), audience: String::new() };
    admin.ask(admin.accounts().refresh_account(ask)).await
}

/// Half an hour after the consents, when nobody is due yet, the provider says `retry_after` to one account; all others, which
/// become due meanwhile, wait for `wait` too.
async fn is_kept(retry_after: &str, wait: Duration) -> Result<()> {
    let mut lapse = Timelapse::start(Engine::Sqlite, ACCOUNTS, 50.0).await?;
    let truth = lapse.provider.truth();
    assert!(lapse.ask().await?.iter().all(Result::is_ok), "all are asked for");
    lapse.pass(HOUR / 4, HOUR / 4).await;
    lapse.provider.fault(too_many(retry_after));
    let told = refresh(&lapse).await.err().context("not throttled")?;
    assert_eq!(told.reason(), Some(ErrorReason::ProviderThrottled), "{retry_after}");
    assert_eq!(lapse.refreshes(), 1, "{retry_after}");

    let almost = wait - Duration::from_secs(1);
    lapse.pass(almost / 2, MINUTE * 5).await;
    lapse.restart().await?;
    assert!(refresh(&lapse).await.is_err(), "an operator keeps it too");
    lapse.pass(almost - almost / 2, MINUTE * 5).await;
    for answer in lapse.ask().await? {
        // What lives is served; what has ended is told to wait.
        let refusal = answer.err().map(|refusal| (refusal.reason(), refusal.retry_delay.is_some()));
        assert!(
            matches!(refusal, None | Some((ErrorReason::ProviderThrottled, true))),
            "{refusal:?}"
        );
    }
    assert_eq!(lapse.refreshes(), 1, "{retry_after}: one call, and then silence");
    lapse.pass(Duration::from_secs(2), Duration::from_secs(1)).await;
    refresh(&lapse).await?;
    lapse
        .pass_until("all go on by themselves", (MINUTE, 40), |lapse| {
            lapse.calls_of_each().iter().all(|&calls| calls > 0)
        })
        .await?;
    assert_eq!((truth.stats().early_calls, truth.stats().reuse), (0, 0), "{retry_after}");
    lapse.all_are_active().await?;
    lapse.end().await
}

#[tokio::test]
async fn a_silence_is_kept_over_a_restart_in_whatever_form_it_is_asked_for() -> Result<()> {
    let (seconds, date) = (Box::pin(is_kept("3600", HOUR)), Box::pin(is_kept("date+3600", HOUR)));
    // More than an hour is not believed, and what nobody can read is half a minute.
    let ten_years = Box::pin(is_kept("315360000", HOUR));
    let nonsense = Box::pin(is_kept("in a while, perhaps", MINUTE / 2));
    tokio::try_join!(seconds, date, ten_years, nonsense).map(drop)
}

#[tokio::test]
async fn a_broker_that_is_killed_remembers_the_silence_on_sqlite() -> Result<()> {
    is_remembered(Engine::Sqlite).await
}

#[tokio::test]
async fn a_broker_that_is_killed_remembers_the_silence_on_postgresql() -> Result<()> {
    if Engine::each()?.contains(&Engine::Postgres) {
        is_remembered(Engine::Postgres).await?;
    }
    Ok(())
}

async fn is_remembered(engine: Engine) -> Result<()> {
    let builder = World::builder().engine(engine).without_adapters();
    let mut world = builder.provider(|provider| provider.access_life_s = 1).start().await?;
    world.connect(ALICE).await?;
    world.provider.change(|provider| provider.access_life_s = 3600);
    world.provider.fault(too_many("20"));
    let (service, truth) = (world.service("crm").await?, world.provider.truth());
    let alice = [ALICE.to_owned()];
    until("the token has ended and the provider was asked", MINUTE, async || {
        Ok(ask(&service, &alice).await?.iter().all(Result::is_err))
    })
    .await?;
    assert_eq!(world.refreshes(), 1);
    world.house.crash().await?;
    let told = ask(&service, &alice).await?.pop().context("no answer")?;
    assert_eq!(told.err().map(|told| told.reason()), Some(ErrorReason::ProviderThrottled));
    until("the silence is over", MINUTE, async || {
        Ok(ask(&service, &alice).await?.iter().all(Result::is_ok))
    })
    .await?;
    assert_eq!((world.refreshes(), truth.stats().early_calls), (2, 0), "{engine:?}");
    world.end().await
}
