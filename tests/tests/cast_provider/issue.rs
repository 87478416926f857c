//! Thousands of accounts at once, in-process and over HTTP.

use anyhow::{Context, Result};
use e2e::cast::provider::Provider;
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::ProviderSettings;
use serde_json::Value;

use crate::walk::{ALICE, Reply, automatic, raw, refresh};

async fn issue(provider: &Provider, ask: &str) -> Result<Reply> {
    let head = "POST /_sim/issue HTTP/1.1\r\nHost: x\r\nConnection: close";
    let kind = format!("Content-Type: application/json\r\nContent-Length: {}", ask.len());
    raw(provider, &format!("{head}\r\n{kind}\r\n\r\n{ask}")).await
}

#[tokio::test]
async fn many_accounts_are_issued_in_one_call_and_each_token_is_its_own() -> Result<()> {
    let provider = Provider::start(ProviderSettings::default()).await?;
    let tokens = provider.issue_many(10_000, "mail");
    assert_eq!(tokens.len(), 10_000);
    let token = &tokens["user-009999@example.test"];
    assert_eq!(refresh(&provider, token).await?.status, 200);
    let truth = provider.truth();
    assert_eq!(truth.token(token).context("unknown")?.user, "user-009999@example.test");
    assert_eq!(truth.stats().tokens, 20_001);
    assert_eq!(truth.tokens_of("user-000000@example.test", Kind::Refresh).len(), 1);
    Ok(())
}

#[tokio::test]
async fn tokens_are_issued_over_http_to_named_and_numbered_accounts() -> Result<()> {
    let provider = automatic().await?;
    let ask = format!(r#"{{"users":["{ALICE}"],"count":2,"first":40,"scope":"imap"}}"#);
    let answer = issue(&provider, &ask).await?.json()?;
    let names: Vec<&String> = answer.as_object().context("no object")?.keys().collect();
    assert_eq!(names, [ALICE, "user-000040@example.test", "user-000041@example.test"]);
    let token = answer[ALICE].as_str().context("no token")?;
    assert_eq!(refresh(&provider, token).await?.text("scope")?, "imap");
    Ok(())
}

#[tokio::test]
async fn nothing_is_issued_to_an_unknown_app_or_beyond_the_bound() -> Result<()> {
    let provider = automatic().await?;
    for ask in [r#"{"count":1,"client":"nobody"}"#, r#"{"count":1000001}"#, r#"{"no_such":1}"#] {
        let refused = issue(&provider, ask).await?;
        assert_eq!(refused.status, 422, "{ask}");
    }
    assert_eq!(provider.truth().stats().tokens, 0);
    let none: Value = issue(&provider, "{}").await?.json()?;
    assert_eq!(none, serde_json::json!({}));
    Ok(())
}
