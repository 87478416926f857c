//! Every way to go wrong, seen from a client.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::Provider;
use e2e::cast::provider::faults::{ExpiresIn, Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::{Flapping, ProviderSettings, Rotation};

use crate::walk::{ALICE, automatic, refresh};

async fn with(fault: Fault) -> Result<(Provider, String)> {
    let settings = ProviderSettings { rotation: Rotation::Strict, ..ProviderSettings::default() };
    let provider = Provider::start(settings).await?;
    let token = provider.issue(ALICE, "mail").refresh.context("no refresh token")?.token;
    provider.fault(Rule::refresh(fault).times(1));
    Ok((provider, token))
}

fn refreshes(provider: &Provider) -> usize {
    provider.truth().tokens_of(ALICE, Kind::Access).len() - 1
}

#[tokio::test]
async fn oauth_errors_carry_the_extras_of_the_big_providers() -> Result<()> {
    let error = Fault::Oauth {
        error: "invalid_grant".to_owned(),
        description: Some("AADSTS70000".to_owned()),
        subtype: Some("invalid_rapt".to_owned()),
        suberror: Some("bad_token".to_owned()),
        status: None,
    };
    let (provider, token) = with(error).await?;
    let reply = refresh(&provider, &token).await?;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.text("error")?, "invalid_grant");
    assert_eq!(reply.text("error_subtype")?, "invalid_rapt");
    assert_eq!(reply.text("suberror")?, "bad_token");
    assert_eq!(refreshes(&provider), 0);
    assert_eq!(refresh(&provider, &token).await?.status, 200, "once means once");
    Ok(())
}

#[tokio::test]
async fn a_reset_before_processing_costs_nothing() -> Result<()> {
    let (provider, token) = with(Fault::ResetBefore).await?;
    let error = refresh(&provider, &token).await.err().context("no reset")?;
    let kind = error.downcast_ref::<std::io::Error>().context("not a reset")?.kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
    assert_eq!(refreshes(&provider), 0);
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_reset_after_processing_loses_a_strictly_rotated_token() -> Result<()> {
    let (provider, token) = with(Fault::ResetAfter).await?;
    assert!(refresh(&provider, &token).await.is_err());
    assert_eq!(refreshes(&provider), 1);
    assert_eq!(refresh(&provider, &token).await?.text("error")?, "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_processed_fault_loses_the_answer_behind_any_face() -> Result<()> {
    let (provider, token) = with(Fault::Empty).await?;
    provider.clear_faults();
    provider.fault(
        Rule::refresh(Fault::Status { status: 502, retry_after: None }).times(1).processed(),
    );
    assert_eq!(refresh(&provider, &token).await?.status, 502);
    assert_eq!(refreshes(&provider), 1);
    Ok(())
}

#[tokio::test]
async fn a_truncated_answer_is_shorter_than_it_says() -> Result<()> {
    let (provider, token) = with(Fault::Truncate).await?;
    let reply = refresh(&provider, &token).await?;
    let announced = reply.head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let announced: usize = announced.context("no length")?.parse()?;
    assert_eq!(reply.body.len(), announced / 2);
    assert!(reply.json().is_err());
    Ok(())
}

#[tokio::test]
async fn a_hanging_call_says_nothing_until_the_client_goes() -> Result<()> {
    let (provider, token) = with(Fault::Hang).await?;
    let waited = tokio::time::timeout(Duration::from_millis(300), refresh(&provider, &token)).await;
    assert!(waited.is_err(), "it answered");
    assert_eq!(refreshes(&provider), 0);
    provider.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_delayed_answer_was_processed_at_once() -> Result<()> {
    let (provider, token) = with(Fault::Delay { ms: 200 }).await?;
    let started = std::time::Instant::now();
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    Ok(())
}

#[tokio::test]
async fn an_endless_body_ends_at_64_mib() -> Result<()> {
    let (provider, token) = with(Fault::Endless).await?;
    let reply = refresh(&provider, &token).await?;
    assert!(reply.body.len() >= 64 * 1024 * 1024);
    assert!(reply.body.len() < 66 * 1024 * 1024);
    Ok(())
}

#[tokio::test]
async fn bent_answers_are_bent_where_they_were_told() -> Result<()> {
    let expires = async |form| -> Result<String> {
        let (provider, token) = with(Fault::ExpiresIn { form }).await?;
        Ok(refresh(&provider, &token).await?.json()?["expires_in"].to_string())
    };
    assert_eq!(expires(ExpiresIn::Omit).await?, "null");
    assert_eq!(expires(ExpiresIn::String).await?, "\"3600\"");
    assert_eq!(expires(ExpiresIn::Negative).await?, "-1");
    assert_eq!(expires(ExpiresIn::Huge).await?, i64::MAX.to_string());
    let (provider, token) = with(Fault::TokenTypeMissing).await?;
    assert!(refresh(&provider, &token).await?.json()?.get("token_type").is_none());
    let (provider, token) = with(Fault::TokenTypeLower).await?;
    assert_eq!(refresh(&provider, &token).await?.text("token_type")?, "bearer");
    let (provider, token) = with(Fault::DuplicateKeys).await?;
    assert_eq!(refresh(&provider, &token).await?.body.matches("\"access_token\"").count(), 2);
    let (provider, token) = with(Fault::WrongContentType).await?;
    assert!(refresh(&provider, &token).await?.head.contains("content-type: text/plain"));
    let (provider, token) = with(Fault::NoRefreshToken).await?;
    assert!(refresh(&provider, &token).await?.json()?.get("refresh_token").is_none());
    Ok(())
}

#[tokio::test]
async fn pages_and_nothing_come_with_status_200() -> Result<()> {
    let (provider, token) = with(Fault::Html).await?;
    let page = refresh(&provider, &token).await?;
    assert!(page.status == 200 && page.body.starts_with("<html"));
    let (provider, token) = with(Fault::Empty).await?;
    let nothing = refresh(&provider, &token).await?;
    assert!(nothing.status == 200 && nothing.body.is_empty());
    let (provider, token) = with(Fault::NotAnObject).await?;
    assert!(refresh(&provider, &token).await?.json()?.is_array());
    Ok(())
}

#[tokio::test]
async fn calls_before_a_retry_after_is_over_are_counted_as_early() -> Result<()> {
    let (provider, token) =
        with(Fault::Status { status: 429, retry_after: Some("30".to_owned()) }).await?;
    assert_eq!(refresh(&provider, &token).await?.status, 429);
    provider.advance(Duration::from_secs(29));
    refresh(&provider, &token).await?;
    assert_eq!(provider.truth().stats().early_calls, 1);
    provider.advance(Duration::from_secs(2));
    refresh(&provider, &token).await?;
    assert_eq!(provider.truth().stats().early_calls, 1);
    Ok(())
}

#[tokio::test]
async fn an_outage_and_flapping_answer_503() -> Result<()> {
    let settings =
        ProviderSettings { frozen_at_ms: Some(1_800_000_000_000), ..ProviderSettings::default() };
    let provider = Provider::start(settings).await?;
    let token = provider.issue(ALICE, "mail").refresh.context("no refresh token")?.token;
    provider.change(|settings| settings.outage = true);
    assert_eq!(refresh(&provider, &token).await?.status, 503);
    provider.change(|settings| {
        settings.outage = false;
        settings.flapping = Some(Flapping { up_ms: 1000, down_ms: 1000 });
    });
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    provider.advance(Duration::from_secs(1));
    assert_eq!(refresh(&provider, &token).await?.status, 503);
    provider.advance(Duration::from_secs(1));
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_rule_for_one_mailbox_spares_the_others() -> Result<()> {
    let provider = automatic().await?;
    let [alice, bob] = [ALICE, "bob@example.test"].map(|user| provider.issue(user, "mail").refresh);
    provider.fault(Rule::refresh(Fault::Status { status: 500, retry_after: None }).login(ALICE));
    assert_eq!(refresh(&provider, &alice.context("none")?.token).await?.status, 500);
    assert_eq!(refresh(&provider, &bob.context("none")?.token).await?.status, 200);
    Ok(())
}
