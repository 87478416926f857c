//! A host whose clock jumps: no herd at the provider, no account that pays for it, and tokens again afterwards.

use std::time::Duration;

use anyhow::Result;
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::world::{Engine, Timelapse};

use crate::outage::{RATE, within_rate};

const ACCOUNTS: usize = 30;
const HOUR: Duration = Duration::from_secs(3600);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// Asks for all tokens until each is one that the provider takes, while time passes; no faster than the rate.
async fn all_are_served(lapse: &Timelapse, when: &str) -> Result<()> {
    let truth = lapse.provider.truth();
    let since = truth.now_ms() / 1000;
    for _ in 0..10 {
        let answers = lapse.ask_over_time(SECOND).await?;
        let live = answers.iter().flatten().filter(|token| truth.is_live(&token.access_token));
        if live.count() == ACCOUNTS {
            within_rate(lapse, since);
            assert_eq!(truth.stats().reuse, 0, "{when}");
            return lapse.all_are_active().await;
        }
        lapse.pass(SECOND, SECOND).await;
    }
    anyhow::bail!("{when}: not all are served in the end: {:?}", lapse.ask().await?)
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_back_brings_no_herd_and_ends_no_account() -> Result<()> {
    let lapse = Timelapse::start(Engine::Sqlite, ACCOUNTS, RATE).await?;
    // Their consents were calls too.
    lapse.pass(10 * SECOND, 10 * SECOND).await;
    all_are_served(&lapse, "before").await?;
    lapse.set_ahead(HOUR);
    all_are_served(&lapse, "an hour ahead").await?;
    lapse.set_ahead(Duration::ZERO);
    all_are_served(&lapse, "right again").await?;
    lapse.set_ahead(TEN_YEARS);
    all_are_served(&lapse, "ten years ahead").await?;
    lapse.set_ahead(Duration::ZERO);
    all_are_served(&lapse, "back from there").await?;
    // What was bought under the wrong clock ends when the provider says so.
    lapse.pass(HOUR + HOUR / 2, HOUR / 8).await;
    all_are_served(&lapse, "an hour and a half later").await?;
    lapse.end().await
}

#[tokio::test]
async fn a_silence_that_was_asked_for_under_a_wrong_clock_is_no_longer_than_any_other() -> Result<()>
{
    let lapse = Timelapse::start(Engine::Sqlite, 1, RATE).await?;
    all_ask(&lapse).await?;
    lapse.set_ahead(TEN_YEARS);
    let retry_after = Some("60".to_owned());
    lapse.provider.fault(Rule::refresh(Fault::Status { status: 429, retry_after }).times(1));
    all_ask(&lapse).await?;
    assert_eq!(lapse.refreshes(), 1);
    lapse.set_ahead(Duration::ZERO);
    lapse.pass(2 * HOUR, HOUR / 4).await;
    let answers = lapse.ask().await?;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    lapse.end().await
}

#[tokio::test]
async fn failures_under_a_wrong_clock_do_not_keep_an_account_waiting_for_years() -> Result<()> {
    let lapse = Timelapse::start(Engine::Sqlite, 1, RATE).await?;
    all_ask(&lapse).await?;
    lapse.set_ahead(TEN_YEARS);
    lapse.provider.change(|provider| provider.outage = true);
    for _ in 0..20 {
        lapse.pass(15 * SECOND, 15 * SECOND).await;
        all_ask(&lapse).await?;
    }
    lapse.provider.change(|provider| provider.outage = false);
    lapse.set_ahead(Duration::ZERO);
    lapse.pass(2 * HOUR, HOUR / 4).await;
    let answers = lapse.ask().await?;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    lapse.end().await
}

async fn all_ask(lapse: &Timelapse) -> Result<()> {
    lapse.ask().await.map(drop)
}
