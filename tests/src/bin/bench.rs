//! `bench`: the product beside its baselines, in one run of a minute or two.
//!
//! Build everything with `--release` first: it measures the programs that lie beside it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::bench::{Plan, measure, serve_echo, table};

/// Measures calls, relayed mail and build times against their baselines.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Also build the workspace in a folder of its own, cold and warm; takes minutes
    #[arg(long)]
    build: bool,
    /// Also fetch from a real Dovecot (tests/stack)
    #[arg(long)]
    real: bool,
    /// Seconds for each measurement of calls
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Megabytes in the mailbox that is fetched
    #[arg(long, default_value_t = 200)]
    megabytes: usize,
    /// For its own use: serve the echo
    #[arg(long, hide = true, num_args = 2, value_names = ["ADDRESS", "FILE"])]
    echo: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { json, build, real, seconds, megabytes, echo } = Arguments::parse();
    if let [address, file] = &echo[..] {
        return serve_echo(address.parse::<SocketAddr>()?, &PathBuf::from(file)).await;
    }
    let figures = Box::pin(measure(Plan { seconds, megabytes, real, build })).await?;
    let text = if json { format!("{figures:#}\n") } else { table(&figures) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
