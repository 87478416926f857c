//! `bench`: the product beside its baselines, in one run of a few minutes.
//!
//! Build everything with `--release` first: it measures the programs that lie beside it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::bench::{Part, Plan, attack, measure, probe, serve_echo, table};
use mimalloc::MiMalloc;

/// The broker's own, so that the echo has it too, and thousands of callers cost no more than a few.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures calls, refreshes, the schedule, relayed mail, revocation, guessing, keys and build times against their baselines.
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
    /// Only this part (may be repeated)
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Seconds for each measurement of calls and of refreshes
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Seconds of honest logins, alone and again beside an attack of guesses
    #[arg(long, default_value_t = 60)]
    guess_seconds: u64,
    /// Accounts that are kept fresh while refreshes are counted
    #[arg(long, default_value_t = 1000)]
    accounts: usize,
    /// Accounts in the largest table that those who are due are found in, and rows that are sealed anew
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Megabytes in the mailbox that is fetched
    #[arg(long, default_value_t = 200)]
    megabytes: usize,
    /// Relayed sessions whose credential is revoked
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// For its own use: serve the echo
    #[arg(long, hide = true, num_args = 2, value_names = ["ADDRESS", "FILE"])]
    echo: Vec<String>,
    /// For its own use: guess as standard input says
    #[arg(long, hide = true)]
    attack: bool,
    /// For its own use: ask now and then as standard input says
    #[arg(long, hide = true)]
    probe: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { json, build, real, only, seconds, accounts, rows, megabytes, .. } = arguments;
    let (guess_seconds, sessions) = (arguments.guess_seconds, arguments.sessions);
    let echo = arguments.echo;
    if arguments.attack {
        return attack().await;
    }
    if arguments.probe {
        return probe().await;
    }
    if let [address, file] = &echo[..] {
        return serve_echo(address.parse::<SocketAddr>()?, &PathBuf::from(file)).await;
    }
    let plan =
        Plan { only, accounts, rows, seconds, guess_seconds, megabytes, sessions, real, build };
    let figures = Box::pin(measure(plan)).await?;
    let text = if json { format!("{figures:#}\n") } else { table(&figures) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
