//! The whole product on real servers: a certified OAuth server, Dovecot, Postfix. Nothing is faked.
//!
//! Where the servers are not installed these tests say so and pass; with `CI=true` that is a failure.

use anyhow::{Context, Result, ensure};
use e2e::world::clients::{CURL_LOGIN_DENIED, answer_line};
use e2e::world::real::Real;
use e2e::world::{Engine, Wire, letter};
use serde_json::json;

const ALICE: &str = "alice@example.test";
/// `brokerctl`'s exit codes.
const OWNER_HAS_TO_ACT: Option<i32> = Some(4);
const TRY_AGAIN: Option<i32> = Some(5);

/// Sends `subject` with curl through the SMTP adapter and reads it back through the IMAP adapter.
async fn send_and_read_back(client: &e2e::world::Client, subject: &str) -> Result<()> {
    client.curl_smtp(ALICE, &letter(ALICE, ALICE, subject)).await?.ok()?;
    let read = client.python_imap(&["--expect-subject", subject, "--json"]).await?.ok()?.json()?;
    let body = read["body"].as_str().unwrap_or_default().replace("\r\n", "\n");
    assert!(body.contains("hello from alice@example.test\n.dots stay\n"), "{read}");
    Ok(())
}

async fn the_whole_walk(engine: Engine) -> Result<()> {
    let Some(mut real) = Real::start(engine, &[]).await? else { return Ok(()) };
    real.stack.seed(ALICE, 3, 2000).await?;
    let account = real.connect(ALICE).await?;
    assert_eq!((&account["mailbox"], &account["state"]), (&json!(ALICE), &json!("active")));
    let token = real.token(ALICE).await?;
    let client = real.client(ALICE).await?;
    assert!(client.curl_imap("").await?.ok()?.stdout.contains("INBOX"));
    let fetched = client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?.stdout;
    assert!(fetched.len() > 1500, "{fetched}");
    send_and_read_back(&client, "through the adapters").await?;
    send_and_read_back(&client.over(Wire::StartTls), "after STARTTLS").await?;
    send_and_read_back(&client.over(Wire::Tls), "in TLS").await?;
    assert_eq!(real.refreshes().await?, 0);
    real.house.crash().await?;
    assert_eq!(real.token(ALICE).await?, token, "the same token after a power cut");
    client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
    send_and_read_back(&client, "after a power cut").await?;
    assert_eq!(real.refreshes().await?, 0, "a restart refreshes nothing");
    real.end().await
}

#[tokio::test]
async fn an_app_a_consent_a_token_and_mail_on_sqlite() -> Result<()> {
    Box::pin(the_whole_walk(Engine::Sqlite)).await
}

#[tokio::test]
async fn an_app_a_consent_a_token_and_mail_on_postgresql() -> Result<()> {
    if Engine::each()?.contains(&Engine::Postgres) {
        Box::pin(the_whole_walk(Engine::Postgres)).await?;
    }
    Ok(())
}

async fn good_and_bad_days(engine: Engine) -> Result<()> {
    let life = [("OAUTH_ACCESS_TTL", "2")];
    let Some(real) = Real::start(engine, &life).await? else { return Ok(()) };
    real.stack.seed(ALICE, 1, 500).await?;
    real.connect(ALICE).await?;
    let client = real.client(ALICE).await?;

    // The access token ends: nobody notices.
    let first = real.token(ALICE).await?;
    wait_for_end(&real).await?;
    client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
    assert_ne!(real.token(ALICE).await?, first);

    // The server is away: temporarily, says everybody, and no account is dead.
    wait_for_end(&real).await?;
    let down = json!({"status": 503, "times": -1});
    real.stack.admin("fault", Some(&down)).await?;
    let run = real.operator.try_ctl(&["--deadline", "3s", "token", "get", ALICE]).await?;
    assert_eq!(run.code, TRY_AGAIN, "{run}");
    assert!(run.stderr.contains("temporarily"), "{run}");
    let run = client.curl_imap_command("", &["-v"]).await?;
    assert_eq!(run.code, CURL_LOGIN_DENIED, "{run}");
    assert!(answer_line(&run, "NO [UNAVAILABLE]")?.contains("temporarily"), "{run}");
    let run = client.curl_smtp(ALICE, "x").await?;
    assert_ne!(run.code, Some(0), "{run}");
    assert_eq!(real.operator.ctl(&["account", "show", ALICE]).await?["state"], "active");
    real.stack.admin("faults/clear", Some(&json!({}))).await?;
    // After several failures in a row callers are asked for a little patience, half a minute at most.
    let began = std::time::Instant::now();
    while client.curl_imap("INBOX;MAILINDEX=1").await?.code != Some(0) {
        ensure!(began.elapsed().as_secs() < 60, "it does not come back by itself");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }

    // The grant is revoked at the server: the owner is asked to come back, and can.
    wait_for_end(&real).await?;
    let all = json!({"login": ALICE, "kinds": ["refresh", "access", "grant"]});
    real.stack.admin("revoke", Some(&all)).await?;
    let run = real.operator.try_ctl(&["token", "get", ALICE]).await?;
    assert_eq!(run.code, OWNER_HAS_TO_ACT, "{run}");
    let told: serde_json::Value = serde_json::from_str(&run.stderr)?;
    assert_eq!(told["error"]["reason"], "ACCOUNT_NEEDS_CONSENT");
    let run = client.curl_imap_command("", &["-v"]).await?;
    assert_eq!(run.code, CURL_LOGIN_DENIED, "{run}");
    answer_line(&run, "NO [AUTHENTICATIONFAILED]")?;
    let link = told["error"]["link"].as_str().context("no link")?;
    let page = real.stack.consent(link, ALICE).await?;
    assert_eq!(page["status"], 200, "{page}");
    assert_eq!(real.operator.ctl(&["account", "show", ALICE]).await?["state"], "active");
    client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
    let stats = real.stack.admin("stats", None).await?;
    assert_eq!(stats["refresh_reuse_presented"], 0, "{stats}");
    assert_eq!(stats["refresh_concurrent_same_token"], 0, "{stats}");
    real.end().await
}

#[tokio::test]
async fn expiry_outage_and_revocation_are_told_apart_on_sqlite() -> Result<()> {
    Box::pin(good_and_bad_days(Engine::Sqlite)).await
}

#[tokio::test]
async fn expiry_outage_and_revocation_are_told_apart_on_postgresql() -> Result<()> {
    if Engine::each()?.contains(&Engine::Postgres) {
        Box::pin(good_and_bad_days(Engine::Postgres)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_owner_who_signs_in_as_somebody_else_connects_nothing() -> Result<()> {
    let Some(real) = Real::start(Engine::Sqlite, &[]).await? else { return Ok(()) };
    let invite = ["account", "invite", "--app", "idp", "--mailbox", ALICE];
    let consent = real.operator.ctl(&invite).await?;
    let link = consent["uri"].as_str().context("no link")?;
    let page = real.stack.consent(link, "mallory@example.test").await?;
    assert!(page["status"].as_u64().is_some_and(|status| status >= 400), "{page}");
    assert!(page["text"].as_str().is_some_and(|text| text.contains(ALICE)), "{page}");
    let listed = real.operator.ctl(&["account", "list"]).await?;
    assert_eq!(listed["accounts"], json!([]));
    real.end().await
}

/// Waits until the token that the broker holds has ended.
async fn wait_for_end(real: &Real) -> Result<()> {
    let end = real.operator.account(ALICE).await?.token_expire_time.context("no token")?;
    let end = std::time::SystemTime::try_from(end)?;
    while end.elapsed().is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
