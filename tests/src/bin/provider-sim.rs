//! `provider-sim`: the fake provider on its own, for trying things out and for tests in other languages.
//!
//! Listens on 127.0.0.1 only, keeps everything in memory and forgets it at the end. It is a test tool: it asks for no
//! passwords. The levers are under `/_sim/`; see `cast/provider`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use e2e::cast::provider::Provider;
use e2e::cast::provider::settings::{Consent, ProviderSettings, Rotation};

const LESSON: &str = "\
Examples:
  provider-sim --auto --rotation strict --access-life 60
      consents by itself; a refresh token works once, its second use kills all its kin
  provider-sim --port 9400 --latency 20 --jitter 30 --answer-latency 100 --issue 1000
      slow as in life, with 1000 accounts; GET /_sim/users has their refresh tokens
  provider-sim --json --settings sim.json >sim.out &
      for scripts: its one line is a JSON object, so `jq -r .issuer sim.out` says where it is

While it runs ($I is the issuer that it prints):
  curl -d grant_type=refresh_token -d refresh_token=$RT -u test-client:cs-test-client $I/token
  curl $I/_sim/stats                  counts: calls, peak, early calls, reuse, concurrency
  curl $I/_sim/users?user=alice@example.test    her current refresh token, and whether it was delivered
  curl -H content-type:application/json $I/_sim/faults \\
       -d '{\"endpoint\":\"token\",\"times\":3,\"fault\":{\"kind\":\"status\",\"status\":429,\"retry_after\":\"30\"}}'
  curl -H content-type:application/json $I/_sim/clock -d '{\"advance_ms\":3600000}'
  curl -H content-type:application/json -X PATCH $I/_sim/settings -d '{\"outage\":true}'

Every lever, one by one: docs/provider-simulator.md";

/// A fake OAuth provider on loopback that keeps the ground truth and fails on demand.
#[derive(Debug, Parser)]
#[command(version, after_help = LESSON)]
struct Arguments {
    /// Port on 127.0.0.1 (0: a free one)
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// JSON file with settings, as `GET /_sim/settings` shows them; flags below win
    #[arg(long)]
    settings: Option<PathBuf>,
    /// What a refresh does to the refresh token
    #[arg(long, value_enum)]
    rotation: Option<Mode>,
    /// How long a replaced refresh token still works with `--rotation grace`, in seconds
    #[arg(long, default_value_t = 60)]
    grace: i64,
    /// Life of an access token in seconds
    #[arg(long)]
    access_life: Option<i64>,
    /// A mailbox that the login page offers (may be repeated)
    #[arg(long = "user")]
    users: Vec<String>,
    /// Consent at once as `login_hint` (or the first user) instead of showing a page
    #[arg(long)]
    auto: bool,
    /// Wait before each call is processed, in milliseconds
    #[arg(long)]
    latency: Option<u64>,
    /// Up to so many milliseconds more before each call, at random
    #[arg(long)]
    jitter: Option<u64>,
    /// Wait between processing and answering, in milliseconds
    #[arg(long)]
    answer_latency: Option<u64>,
    /// Issue tokens to so many made-up accounts, user-000000@example.test and so on
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    issue: usize,
    /// Say where it is in one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    None,
    Replace,
    Grace,
    Strict,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let settings = settings_of(&arguments)?;
    let provider = Provider::start(settings).await?;
    provider.issue_many(arguments.issue, "mail");
    let greeting = greeting(&provider, arguments.json);
    let mut out = std::io::stdout();
    out.write_all(greeting.as_bytes())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    provider.stop().await;
    Ok(())
}

/// Where it is and who may call; with `json` in one line.
fn greeting(provider: &Provider, json: bool) -> String {
    let (issuer, id) = (provider.issuer(), provider.client_id());
    let secret = provider.client_secret();
    if json {
        let line = serde_json::json!({
            "issuer": issuer,
            "client_id": id,
            "client_secret": secret,
            "port": provider.address().port(),
            "back_stage": format!("{issuer}/_sim"),
        });
        return format!("{line}\n");
    }
    format!(
        "issuer        {issuer}\n\
         client_id     {id}\n\
         client_secret {secret}\n\
         ground truth  {issuer}/_sim/truth\n\
         numbers       {issuer}/_sim/stats\n"
    )
}

fn settings_of(arguments: &Arguments) -> Result<ProviderSettings> {
    let mut settings = match &arguments.settings {
        None => ProviderSettings::default(),
        Some(path) => {
            let named = || path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(named)?;
            serde_json::from_str(&text).with_context(named)?
        }
    };
    settings.port = arguments.port;
    settings.access_life_s = arguments.access_life.unwrap_or(settings.access_life_s);
    settings.rotation = match arguments.rotation {
        None => settings.rotation,
        Some(Mode::None) => Rotation::None,
        Some(Mode::Replace) => Rotation::Replace,
        Some(Mode::Grace) => Rotation::Grace { seconds: arguments.grace },
        Some(Mode::Strict) => Rotation::Strict,
    };
    if !arguments.users.is_empty() {
        settings.users.clone_from(&arguments.users);
    }
    if arguments.auto {
        settings.consent = Consent::Auto;
    }
    settings.latency_ms = arguments.latency.unwrap_or(settings.latency_ms);
    settings.latency_jitter_ms = arguments.jitter.unwrap_or(settings.latency_jitter_ms);
    settings.answer_latency_ms = arguments.answer_latency.unwrap_or(settings.answer_latency_ms);
    Ok(settings)
}
