//! Rotation, revocation and the ground truth about them.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::{ProviderSettings, Rotation};
use e2e::cast::provider::{Provider, ledger::Issued};

use crate::walk::{ALICE, automatic, connect, post, raw, refresh};

async fn rotating(rotation: Rotation) -> Result<(Provider, String)> {
    let provider =
        Provider::start(ProviderSettings { rotation, ..ProviderSettings::default() }).await?;
    let Issued { refresh, .. } = provider.issue(ALICE, "mail");
    Ok((provider, refresh.context("no refresh token")?.token))
}

#[tokio::test]
async fn without_rotation_the_answer_carries_no_refresh_token_and_the_old_one_stays() -> Result<()>
{
    let (provider, token) = rotating(Rotation::None).await?;
    for _ in 0..2 {
        let reply = refresh(&provider, &token).await?;
        assert_eq!(reply.status, 200);
        assert!(reply.json()?.get("refresh_token").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn replacing_rotation_leaves_the_old_token_alive_and_notes_its_use() -> Result<()> {
    let (provider, token) = rotating(Rotation::Replace).await?;
    let new = refresh(&provider, &token).await?.text("refresh_token")?;
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    assert_eq!(refresh(&provider, &new).await?.status, 200);
    let truth = provider.truth().snapshot();
    assert_eq!(truth.reuse.len(), 1);
    assert!(!truth.reuse[0].killed);
    Ok(())
}

#[tokio::test]
async fn grace_rotation_accepts_the_old_token_until_the_grace_is_over() -> Result<()> {
    let (provider, token) = rotating(Rotation::Grace { seconds: 60 }).await?;
    let new = refresh(&provider, &token).await?.text("refresh_token")?;
    provider.advance(Duration::from_secs(30));
    assert_eq!(refresh(&provider, &token).await?.status, 200);
    assert!(provider.truth().is_live(&new));
    provider.advance(Duration::from_secs(31));
    assert_eq!(refresh(&provider, &token).await?.text("error")?, "invalid_grant");
    assert!(!provider.truth().is_live(&new));
    Ok(())
}

#[tokio::test]
async fn strict_rotation_kills_the_family_on_reuse() -> Result<()> {
    let (provider, token) = rotating(Rotation::Strict).await?;
    let bystander = provider.issue(ALICE, "mail").access.token;
    let reply = refresh(&provider, &token).await?;
    let (access, new) = (reply.text("access_token")?, reply.text("refresh_token")?);
    assert!(provider.truth().is_live(&access));
    assert_eq!(refresh(&provider, &token).await?.text("error")?, "invalid_grant");
    assert!(!provider.truth().is_live(&access));
    assert_eq!(refresh(&provider, &new).await?.text("error")?, "invalid_grant");
    assert!(provider.truth().is_live(&bystander), "another consent is another family");
    let truth = provider.truth().snapshot();
    assert!(truth.reuse.iter().all(|reuse| reuse.user == ALICE) && truth.reuse[0].killed);
    Ok(())
}

#[tokio::test]
async fn the_truth_knows_generation_parent_and_use_of_every_token() -> Result<()> {
    let provider = automatic().await?;
    provider.change(|settings| settings.rotation = Rotation::Strict);
    let mut token = connect(&provider).await?.text("refresh_token")?;
    for _ in 0..3 {
        token = refresh(&provider, &token).await?.text("refresh_token")?;
    }
    let line = provider.truth().tokens_of(ALICE, Kind::Refresh);
    assert_eq!(line.iter().map(|it| it.generation).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(line.iter().map(|it| it.accepted).collect::<Vec<_>>(), [1, 1, 1, 0]);
    assert!(line.windows(2).all(|pair| pair[1].parent == Some(pair[0].id)));
    assert_eq!(provider.truth().stats().grants["refresh_token"], 3);
    Ok(())
}

#[tokio::test]
async fn refreshes_at_the_same_time_are_counted_as_such() -> Result<()> {
    let (provider, token) = rotating(Rotation::None).await?;
    provider.change(|settings| settings.latency_ms = 300);
    let (one, two) = tokio::join!(refresh(&provider, &token), refresh(&provider, &token));
    assert_eq!((one?.status, two?.status), (200, 200));
    assert_eq!(provider.truth().stats().max_concurrent_by_user[ALICE], 2);
    assert_eq!(provider.truth().token(&token).context("unknown")?.max_concurrent, 2);
    Ok(())
}

#[tokio::test]
async fn access_tokens_end_with_the_clock() -> Result<()> {
    let provider = automatic().await?;
    provider.change(|settings| settings.access_life_s = 100);
    let token = connect(&provider).await?.text("access_token")?;
    let ask = format!(
        "GET /userinfo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    assert_eq!(raw(&provider, &ask).await?.text("email")?, ALICE);
    provider.advance(Duration::from_secs(100));
    assert_eq!(raw(&provider, &ask).await?.status, 401);
    let asked = post(&provider, "/introspect", &[("token", &token)]).await?;
    assert_eq!(asked.json()?["active"], false);
    Ok(())
}

#[tokio::test]
async fn revoking_a_refresh_token_kills_its_access_tokens_and_the_unknown_is_fine_too() -> Result<()>
{
    let (provider, token) = rotating(Rotation::None).await?;
    let access = refresh(&provider, &token).await?.text("access_token")?;
    assert_eq!(
        post(&provider, "/introspect", &[("token", &access)]).await?.json()?["active"],
        true
    );
    assert_eq!(post(&provider, "/revoke", &[("token", &token)]).await?.status, 200);
    assert!(!provider.truth().is_live(&access));
    assert_eq!(post(&provider, "/revoke", &[("token", "never issued")]).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_revoked_user_cannot_refresh_and_others_can() -> Result<()> {
    let (provider, token) = rotating(Rotation::None).await?;
    let other =
        provider.issue("bob@example.test", "mail").refresh.context("no refresh token")?.token;
    assert_eq!(provider.revoke_user(ALICE), 2);
    assert_eq!(refresh(&provider, &token).await?.text("error")?, "invalid_grant");
    assert_eq!(refresh(&provider, &other).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn tokens_carry_the_canary_that_was_asked_for() -> Result<()> {
    let provider = automatic().await?;
    provider.change(|settings| {
        settings.access_prefix = "at-canary-".to_owned();
        settings.refresh_prefix = "rt-canary-".to_owned();
    });
    let reply = connect(&provider).await?;
    assert!(reply.text("access_token")?.starts_with("at-canary-"));
    assert!(reply.text("refresh_token")?.starts_with("rt-canary-"));
    Ok(())
}

#[tokio::test]
async fn a_narrower_scope_is_granted_and_a_wider_one_refused() -> Result<()> {
    let provider = automatic().await?;
    let token = provider.issue(ALICE, "imap smtp").refresh.context("no refresh token")?.token;
    let ask =
        |scope| [("grant_type", "refresh_token"), ("refresh_token", &*token), ("scope", scope)];
    assert_eq!(post(&provider, "/token", &ask("smtp")).await?.text("scope")?, "smtp");
    assert_eq!(
        post(&provider, "/token", &ask("smtp admin")).await?.text("error")?,
        "invalid_scope"
    );
    Ok(())
}

#[tokio::test]
async fn the_back_stage_speaks_json() -> Result<()> {
    let (provider, token) = rotating(Rotation::None).await?;
    let send = async |method: &str, path: &str, body: &str| {
        let head = format!("{method} /_sim/{path} HTTP/1.1\r\nHost: x\r\nConnection: close");
        let kind = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
        raw(&provider, &format!("{head}\r\n{kind}\r\n\r\n{body}")).await
    };
    let rule = r#"{"endpoint":"token","times":1,"fault":{"kind":"status","status":429,"retry_after":"7"}}"#;
    assert_eq!(send("POST", "faults", rule).await?.status, 204);
    assert_eq!(send("GET", "faults", "").await?.json()?.as_array().map(Vec::len), Some(1));
    let throttled = refresh(&provider, &token).await?;
    assert_eq!(throttled.status, 429);
    assert!(throttled.head.contains("retry-after: 7"), "{}", throttled.head);
    let changed =
        send("PATCH", "settings", r#"{"rotation":{"mode":"grace","seconds":5},"outage":false}"#)
            .await?;
    assert_eq!(changed.json()?["rotation"]["seconds"], 5);
    assert_eq!(send("PATCH", "settings", r#"{"no_such":1}"#).await?.status, 422);
    let before = send("GET", "clock", "").await?.json()?["now_ms"].as_i64().context("no time")?;
    let after = send("POST", "clock", r#"{"advance_ms":60000}"#).await?.json()?["now_ms"].as_i64();
    assert!(after.context("no time")? >= before + 60_000);
    assert_eq!(
        send("POST", "revoke", &format!(r#"{{"user":"{ALICE}"}}"#)).await?.json()?["revoked"],
        2
    );
    assert_eq!(send("GET", "stats", "").await?.json()?["calls"]["token"], 1);
    let truth = send("GET", "truth", "").await?.json()?;
    assert_eq!(truth["tokens"][0]["token"], token);
    Ok(())
}

#[tokio::test]
async fn a_stopped_provider_frees_its_port_and_a_dropped_one_stops() -> Result<()> {
    let provider = automatic().await?;
    let address = provider.address();
    provider.stop().await;
    let again =
        Provider::start(ProviderSettings { port: address.port(), ..ProviderSettings::default() })
            .await?;
    drop(again);
    let mut tries = 0;
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tries += 1;
        assert!(tries < 1000, "still listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_of_a_provider_that_is_gone_live_on_and_its_reuse_is_still_noticed() -> Result<()> {
    let (gone, old) = rotating(Rotation::Strict).await?;
    let new = refresh(&gone, &old).await?.text("refresh_token")?;
    let book = gone.truth().snapshot().tokens;
    gone.stop().await;
    let (provider, foreign) = rotating(Rotation::Strict).await?;
    assert_eq!(refresh(&provider, &new).await?.text("error")?, "invalid_grant", "not known yet");
    provider.adopt(book);
    let truth = provider.truth();
    assert_eq!(truth.token(&old).context("not adopted")?.presented, 0, "counts begin anew");
    let newest = refresh(&provider, &new).await?.text("refresh_token")?;
    assert_eq!(refresh(&provider, &old).await?.text("error")?, "invalid_grant");
    assert!(!truth.is_live(&newest), "its kin went with it");
    assert!(truth.is_live(&foreign), "another family did not");
    Ok(())
}
