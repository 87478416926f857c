//! What the simulator counts: rates, early calls, concurrency, reuse, and what was delivered to whom.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::Provider;
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::cast::provider::settings::{Client, ClientSecret, ProviderSettings, Rotation};

use crate::walk::{ALICE, post, refresh};

const NOON: i64 = 1_800_000_000_000;

/// A frozen simulator with a second app, and alice's refresh token.
async fn frozen(rotation: Rotation) -> Result<(Provider, String)> {
    let other = Client {
        id: "other".to_owned(),
        secrets: vec![ClientSecret::valid("cs-other")],
        ..Client::default()
    };
    let provider = Provider::start(ProviderSettings {
        frozen_at_ms: Some(NOON),
        rotation,
        clients: vec![Client::default(), other],
        ..ProviderSettings::default()
    })
    .await?;
    let token = provider.issue(ALICE, "mail").refresh.context("no refresh token")?.token;
    Ok((provider, token))
}

#[tokio::test]
async fn calls_of_the_token_endpoint_are_counted_by_second_and_app() -> Result<()> {
    let (provider, token) = frozen(Rotation::None).await?;
    refresh(&provider, &token).await?;
    provider.advance(Duration::from_secs(2));
    for _ in 0..3 {
        refresh(&provider, &token).await?;
    }
    let other = [("client_id", "other"), ("client_secret", "cs-other"), ("grant_type", "x")];
    post(&provider, "/token", &other).await?;
    let rate = provider.truth().rate();
    let seconds: Vec<(i64, u64)> =
        rate.seconds.iter().map(|second| (second.second - NOON / 1000, second.calls)).collect();
    assert_eq!(seconds, [(0, 1), (2, 4)], "seconds without calls are left out");
    assert_eq!(rate.seconds[1].by_app["other"], 1);
    assert_eq!((rate.peak.second, rate.peak.calls), (NOON / 1000 + 2, 4));
    assert_eq!(rate.peak_by_app["test-client"].calls, 3);
    assert_eq!(provider.truth().stats().token_peak, rate.peak);
    Ok(())
}

#[tokio::test]
async fn every_form_of_retry_after_is_sent_and_its_early_callers_are_counted() -> Result<()> {
    // What is told, what is sent, and when a caller is no longer early.
    let date = "Fri, 15 Jan 2027 08:00:30 GMT";
    let cases = [
        ("30", "30", Some(30)),
        ("date+30", date, Some(30)),
        (date, date, Some(30)),
        ("315360000", "315360000", Some(3600)),
        ("in a while", "in a while", None),
    ];
    for (told, sent, patience) in cases {
        let (provider, token) = frozen(Rotation::None).await?;
        let fault = Fault::Status { status: 429, retry_after: Some(told.to_owned()) };
        provider.fault(Rule::refresh(fault).times(1));
        let throttled = refresh(&provider, &token).await?;
        assert!(throttled.head.contains(&format!("retry-after: {sent}\r\n")), "{throttled:?}");
        provider.advance(Duration::from_secs(patience.unwrap_or(1) - 1));
        refresh(&provider, &token).await?;
        let early = u64::from(patience.is_some());
        assert_eq!(provider.truth().stats().early_calls, early, "{told}");
        provider.advance(Duration::from_secs(1));
        refresh(&provider, &token).await?;
        let stats = provider.truth().stats();
        assert_eq!(stats.early_calls, early, "{told}");
        assert_eq!(stats.early_calls_by_app.get("test-client").copied().unwrap_or(0), early);
    }
    Ok(())
}

#[tokio::test]
async fn a_users_calls_reuse_and_current_token_are_known() -> Result<()> {
    let (provider, first) = frozen(Rotation::Strict).await?;
    let truth = provider.truth();
    let second = refresh(&provider, &first).await?.text("refresh_token")?;
    let alice = truth.user("ALICE@example.test");
    assert_eq!((alice.refresh_calls, alice.reuse, alice.max_concurrent), (1, 0, 1));
    assert_eq!(alice.current.context("no current token")?.token, second);
    refresh(&provider, &first).await?;
    let alice = truth.user(ALICE);
    assert_eq!((alice.refresh_calls, alice.reuse, alice.in_flight), (2, 1, 0));
    assert!(alice.current.is_none(), "the reuse killed it");
    let stats = truth.stats();
    assert_eq!((stats.reuse, stats.reuse_kills, stats.max_concurrent), (1, 1, 1));
    assert_eq!(truth.users()[ALICE].refresh_calls, 2);
    Ok(())
}

#[tokio::test]
async fn a_token_is_delivered_only_when_its_whole_answer_went_out() -> Result<()> {
    let lost = [Fault::ResetAfter, Fault::Truncate, Fault::NoRefreshToken];
    for fault in lost {
        let (provider, token) = frozen(Rotation::Strict).await?;
        provider.fault(Rule::refresh(fault.clone()).times(1));
        drop(refresh(&provider, &token).await);
        let current = provider.truth().user(ALICE).current.context("none")?;
        assert!(!current.delivered, "{fault:?}");
    }
    let (provider, token) = frozen(Rotation::Strict).await?;
    provider.fault(Rule::refresh(Fault::Status { status: 502, retry_after: None }).processed());
    refresh(&provider, &token).await?;
    assert!(!provider.truth().user(ALICE).current.context("none")?.delivered);
    let (provider, token) = frozen(Rotation::Strict).await?;
    provider.fault(Rule::refresh(Fault::DuplicateKeys));
    refresh(&provider, &token).await?;
    assert!(provider.truth().user(ALICE).current.context("none")?.delivered);
    Ok(())
}

#[tokio::test]
async fn who_goes_away_before_the_answer_was_processed_all_the_same() -> Result<()> {
    let (provider, token) = frozen(Rotation::Strict).await?;
    provider.change(|settings| settings.answer_latency_ms = 60_000);
    let truth = provider.truth();
    let issued = async {
        while truth.user(ALICE).current.is_none_or(|current| current.generation == 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = refresh(&provider, &token) => anyhow::bail!("answered at once"),
        () = issued => {}
    }
    // The client's side is closed here; the call ends without an answer.
    while truth.stats().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!truth.user(ALICE).current.context("none")?.delivered);
    provider.change(|settings| settings.answer_latency_ms = 0);
    assert_eq!(refresh(&provider, &token).await?.text("error")?, "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn latency_is_a_fixed_part_and_a_random_one() -> Result<()> {
    let (provider, token) = frozen(Rotation::None).await?;
    provider.change(|settings| {
        settings.latency_ms = 20;
        settings.latency_jitter_ms = 30;
        settings.answer_latency_ms = 20;
        settings.answer_jitter_ms = 30;
    });
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let began = std::time::Instant::now();
        refresh(&provider, &token).await?;
        assert!(began.elapsed() >= Duration::from_millis(40));
        waits.insert(began.elapsed().as_micros());
    }
    assert!(waits.len() > 1);
    Ok(())
}

#[tokio::test]
async fn an_app_may_rotate_otherwise_than_the_rest() -> Result<()> {
    let (provider, token) = frozen(Rotation::Strict).await?;
    provider.change(|settings| settings.clients[0].rotation = Some(Rotation::None));
    for _ in 0..2 {
        assert!(refresh(&provider, &token).await?.json()?.get("refresh_token").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_set_wrong_runs_on_from_there() -> Result<()> {
    let (provider, _) = frozen(Rotation::None).await?;
    let clock = provider.clock();
    clock.run();
    let right = clock.now_ms();
    clock.offset(-3_600_000);
    let behind = clock.now_ms();
    assert!((3_590_000..=3_600_000).contains(&(right - behind)), "{}", right - behind);
    clock.offset(3_600_000);
    assert!(clock.now_ms() >= right + 3_600_000);
    Ok(())
}
