//! A provider that is away for an hour: what lives is served, the rest is told when to come back, and no herd follows.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::world::{Engine, Timelapse};
use token_broker_client::Error;
use token_broker_client::v1::ErrorReason;

const ACCOUNTS: usize = 60;
pub(crate) const RATE: f64 = 5.0;
const MINUTE: Duration = Duration::from_secs(60);

/// No more calls in any span from `since` on than the bucket holds and gathers.
pub(crate) fn within_rate(lapse: &Timelapse, since: i64) {
    let mut calls = 0;
    for second in lapse.provider.truth().rate().seconds {
        if second.second >= since {
            calls += second.calls;
            let span = second.second - since;
            let most = RATE + RATE * (span + 1) as f64;
            assert!((calls as f64) <= most, "{calls} calls in {span} s");
        }
    }
}

#[tokio::test]
async fn an_hour_without_the_provider_costs_no_account_and_its_end_brings_no_herd() -> Result<()> {
    let lapse = Timelapse::start(Engine::Sqlite, ACCOUNTS, RATE).await?;
    let truth = lapse.provider.truth();
    let began = truth.now_ms();
    assert!(lapse.ask().await?.iter().all(Result::is_ok), "all are asked for");
    lapse.pass(Duration::from_secs(1000), Duration::from_secs(500)).await;
    assert_eq!(lapse.refreshes(), 0);

    lapse.provider.change(|provider| provider.outage = true);
    let (served, refused) = an_hour_of_questions(&lapse, began).await?;
    let asked = lapse.refreshes();
    println!("served {served}, refused {refused}, {asked} calls while it was away");
    assert!(served > 0 && refused > 0);
    assert!(asked < 300, "{asked} calls for 3600 questions");
    let told = lapse.tokens.access_token(&lapse.mailboxes[0]).deadline(MINUTE / 30).await;
    let told = told.err().context("served from nothing")?;
    assert!(matches!(told, Error::Unavailable { retry_after: Some(_), .. }), "{told:?}");
    lapse.all_are_active().await?;

    lapse.provider.change(|provider| provider.outage = false);
    let (back, before) = (truth.now_ms() / 1000, lapse.refreshes());
    let step = Duration::from_secs(2);
    let all_have_one = |lapse: &Timelapse| {
        let truth = lapse.provider.truth();
        lapse
            .mailboxes
            .iter()
            .all(|mailbox| truth.user(mailbox).current.is_some_and(|it| it.generation > 0))
    };
    lapse.pass_until("all have new tokens", (step, 200), all_have_one).await?;
    println!(
        "all are back {} s later, {} calls",
        truth.now_ms() / 1000 - back,
        lapse.refreshes() - before
    );
    within_rate(&lapse, back);
    lapse.pass(MINUTE, MINUTE / 4).await;
    assert_eq!(lapse.refreshes() - before, ACCOUNTS as u64, "one call for each");
    let served = lapse.ask().await?;
    assert!(
        served.iter().flatten().filter(|token| truth.is_live(&token.access_token)).count()
            == ACCOUNTS
    );
    assert_eq!(truth.stats().reuse, 0);
    lapse.all_are_active().await?;
    lapse.end().await
}

/// Everybody asks once a minute; how many were served and how many told to come back. Tokens live until an hour after `began`.
async fn an_hour_of_questions(lapse: &Timelapse, began: i64) -> Result<(u32, u32)> {
    let truth = lapse.provider.truth();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..60 {
        lapse.pass(MINUTE, MINUTE).await;
        let lives = truth.now_ms() - began < 3600 * 1000;
        for answer in lapse.ask().await? {
            match (answer, lives) {
                (Ok(token), true) => {
                    assert!(truth.is_live(&token.access_token));
                    served += 1;
                }
                (Err(refusal), false) => {
                    assert_eq!(refusal.reason(), ErrorReason::ProviderUnavailable);
                    assert!(refusal.retry_delay.is_some());
                    refused += 1;
                }
                (answer, lives) => anyhow::bail!("lives: {lives}, {answer:?}"),
            }
        }
    }
    Ok((served, refused))
}
