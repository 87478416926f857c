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

/// A fake OAuth provider on loopback that keeps the ground truth and fails on demand.
#[derive(Debug, Parser)]
#[command(version)]
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
    let settings = settings_of(Arguments::parse())?;
    let provider = Provider::start(settings).await?;
    let mut out = std::io::stdout();
    writeln!(out, "issuer        {}", provider.issuer())?;
    writeln!(out, "client_id     {}", provider.client_id())?;
    writeln!(out, "client_secret {}", provider.client_secret())?;
    writeln!(out, "ground truth  {}/_sim/truth", provider.issuer())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    provider.stop().await;
    Ok(())
}

fn settings_of(arguments: Arguments) -> Result<ProviderSettings> {
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
        settings.users = arguments.users;
    }
    if arguments.auto {
        settings.consent = Consent::Auto;
    }
    Ok(settings)
}
