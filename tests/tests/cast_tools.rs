//! The scripted browser and the shipped simulator behave as their users expect.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::Redirect;
use axum::routing::get;
use e2e::cast::background::Background;
use e2e::cast::browser::Browser;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

async fn serve(router: Router) -> Result<(SocketAddr, Background)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let background = Background::default();
    background.spawn(async move { drop(axum::serve(listener, router).await) });
    Ok((address, background))
}

#[tokio::test]
async fn the_browser_gives_up_after_20_hops_and_never_leaves_loopback() -> Result<()> {
    let router = Router::new()
        .route("/loop", get(|| async { Redirect::to("/loop") }))
        .route("/out", get(|| async { Redirect::to("http://192.0.2.1/") }));
    let (address, _background) = serve(router).await?;
    let mut browser = Browser::new()?;
    let looped = browser.open(&format!("http://{address}/loop")).await.err().context("no end")?;
    assert!(looped.to_string().contains("20 hops"), "{looped}");
    let left = browser.open(&format!("http://{address}/out")).await.err().context("it left")?;
    assert!(left.to_string().contains("leaves loopback"), "{left}");
    Ok(())
}

#[tokio::test]
async fn the_browser_keeps_cookies_and_holds_strict_ones_back_from_foreign_walks() -> Result<()> {
    let set = [
        (SET_COOKIE, "__Host-lax=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (SET_COOKIE, "strict=1; Path=/; SameSite=Strict"),
        (SET_COOKIE, "__Host-forged=1; Path=/; SameSite=Lax"),
    ];
    let show = |headers: HeaderMap| async move {
        headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let set = axum::response::AppendHeaders(set);
    let router = Router::new()
        .route("/set", get(move || async move { (set, "") }))
        .route("/show", get(show));
    let (home, _home) = serve(router).await?;
    let back = format!("http://{home}/show");
    let abroad = Router::new().route("/", get(move || async move { Redirect::to(&back) }));
    let (abroad, _abroad) = serve(abroad).await?;
    let mut browser = Browser::new()?;
    browser.open(&format!("http://{home}/set")).await?;
    assert_eq!(browser.open(&format!("http://{home}/show")).await?.text, "__Host-lax=1; strict=1");
    let visit = browser.open(&format!("http://localhost:{}/", abroad.port())).await?;
    assert_eq!(visit.text, "__Host-lax=1", "after {:?}", visit.hops);
    browser.cookies().clear();
    assert_eq!(browser.open(&format!("http://{home}/show")).await?.text, "");
    Ok(())
}

#[tokio::test]
async fn the_shipped_simulator_says_where_it_is_and_answers_there() -> Result<()> {
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_provider-sim"))
        .args(["--rotation", "grace", "--grace", "7", "--user", "zoe@example.test", "--auto"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(simulator.stdout.take().context("no output")?).lines();
    let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await??;
    let issuer = line
        .as_deref()
        .and_then(|line| line.strip_prefix("issuer"))
        .context("no issuer")?
        .trim()
        .to_owned();
    let settings = Browser::new()?.open(&format!("{issuer}/_sim/settings")).await?;
    assert!(
        settings.text.contains(r#""rotation":{"mode":"grace","seconds":7}"#),
        "{}",
        settings.text
    );
    assert!(settings.text.contains("zoe@example.test"));
    simulator.kill().await?;
    Ok(())
}

/// Runs the shipped simulator, kept by its handle, and its first line.
async fn shipped(arguments: &[&str]) -> Result<(tokio::process::Child, String)> {
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_provider-sim"))
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(simulator.stdout.take().context("no output")?).lines();
    let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await??;
    Ok((simulator, line.context("it said nothing")?))
}

#[tokio::test]
async fn the_shipped_simulator_starts_with_one_line_of_json_and_the_accounts_it_was_told()
-> Result<()> {
    let (mut simulator, line) = shipped(&["--json", "--issue", "3", "--latency", "1"]).await?;
    let said: serde_json::Value = serde_json::from_str(&line)?;
    let issuer = said["issuer"].as_str().context("no issuer")?;
    assert_eq!(said["client_id"], "test-client");
    let users = Browser::new()?.open(&format!("{issuer}/_sim/users")).await?;
    let users: serde_json::Value = serde_json::from_str(&users.text)?;
    assert_eq!(users.as_object().map(serde_json::Map::len), Some(3));
    let current = &users["user-000002@example.test"]["current"];
    assert!(current["token"].as_str().context("no token")?.starts_with("rt-"));
    simulator.kill().await?;
    Ok(())
}

#[tokio::test]
async fn the_help_of_the_shipped_simulator_teaches_with_examples() -> Result<()> {
    let run = Command::new(env!("CARGO_BIN_EXE_provider-sim")).arg("--help").output().await?;
    let help = String::from_utf8(run.stdout)?;
    for taught in ["Examples:", "--rotation strict", "/_sim/faults", "docs/provider-simulator.md"] {
        assert!(help.contains(taught), "{taught} is not in\n{help}");
    }
    Ok(())
}
