//! `crash-loop`: kills the real broker again and again and looks whether anything is lost.
//!
//! Build the workspace first: it runs the broker that lies beside it. The logic is in `e2e::crash_loop`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use e2e::crash_loop::plan::FAILPOINTS;
use e2e::crash_loop::{Mode, Plan, Report, Sabotage, run};
use e2e::world::Engine;
use indicatif::{ProgressBar, ProgressStyle};

/// Kills the broker under load, starts it again, and checks that no refresh token, revocation or audit record is lost.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  crash-loop --kills 1000                       on SQLite, every rotation mode
  crash-loop --kills 200 --engine postgres --rotation strict
  crash-loop --seed 42 --kills 50               the same choices again
  crash-loop --at refresh.answered --at refresh.kept    only there and at random moments
  crash-loop --sabotage store-first --expect-loss    a broker without that guard is found out

Exit codes: 0 nothing was lost, 1 an invariant was broken (the other way round with --expect-loss), 2 wrong usage or it could not be run."
)]
struct Arguments {
    /// How many kills
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Where the broker keeps its state
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    engine: Store,
    /// Decides every choice; random if not given
    #[arg(long)]
    seed: Option<u64>,
    /// What a refresh does to the refresh token; each mode has an app of its own
    #[arg(long, value_enum, default_value_t = Rotations::All)]
    rotation: Rotations,
    /// Accounts of each app
    #[arg(long, default_value_t = 6)]
    accounts: usize,
    /// Spoil the broker, to see that it is found out
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
    /// Kill at these failpoints and at random moments only (may be repeated)
    #[arg(long, value_parser = PossibleValuesParser::new(FAILPOINTS), value_name = "FAILPOINT")]
    at: Vec<String>,
    /// A broken invariant is what is wanted: exit code 0 then, else 1
    #[arg(long)]
    expect_loss: bool,
    /// Keep state and logs in this new folder
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rotations {
    All,
    None,
    Replace,
    Grace,
    Strict,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(play(Arguments::parse())).await {
        Ok(code) => code,
        Err(error) => {
            // Without a reader there is nobody to tell.
            drop(writeln!(std::io::stderr(), "crash-loop: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn play(arguments: Arguments) -> Result<ExitCode> {
    let plan = plan_of(&arguments)?;
    let bar = ProgressBar::new(plan.kills as u64);
    let style = "[{elapsed_precise}] {bar:30} {pos}/{len} kills, about {eta} left, {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let mut shown = |report: &Report| {
        bar.set_position(report.kills);
        let (lost, broken) = (report.lost(|_| true), report.broken.len());
        bar.set_message(format!("{lost} tokens lost, {broken} invariants broken"));
    };
    let report = tokio::select! {
        report = Box::pin(run(&plan, &mut shown)) => report?,
        // Broker and database go with the loop.
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the seed was {}", plan.seed),
    };
    bar.finish_and_clear();
    let text = if arguments.json { format!("{:#}", report.json()) } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    let bad = report.broken.is_empty() == arguments.expect_loss;
    Ok(ExitCode::from(u8::from(bad)))
}

fn plan_of(arguments: &Arguments) -> Result<Plan> {
    let engine = match arguments.engine {
        Store::Sqlite => Engine::Sqlite,
        Store::Postgres => Engine::Postgres,
    };
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut plan = Plan::new(arguments.kills, engine, seed)?;
    plan.accounts = arguments.accounts;
    if !arguments.at.is_empty() {
        ensure!(!plan.failpoints.is_empty(), "the broker was built without failpoints");
        plan.failpoints.retain(|name| arguments.at.iter().any(|wanted| wanted == name));
    }
    plan.sabotage = arguments.sabotage;
    plan.folder.clone_from(&arguments.folder);
    plan.modes = match arguments.rotation {
        Rotations::All => Mode::ALL.to_vec(),
        Rotations::None => vec![Mode::None],
        Rotations::Replace => vec![Mode::Replace],
        Rotations::Grace => vec![Mode::Grace],
        Rotations::Strict => vec![Mode::Strict],
    };
    if let Some(folder) = &plan.folder {
        std::fs::create_dir(folder)?;
    }
    let switch = plan.sabotage.and_then(Sabotage::switch);
    let able = !plan.failpoints.is_empty() || switch.is_none();
    let forgetful = plan.sabotage == Some(Sabotage::Rollback);
    ensure!(!forgetful || engine == Engine::Sqlite, "--sabotage rollback is for SQLite only");
    ensure!(able, "this sabotage needs a broker that was built with failpoints");
    Ok(plan)
}
