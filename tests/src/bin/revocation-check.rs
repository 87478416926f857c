//! `revocation-check`: takes rights away from callers of three real brokers and looks whether anything is handed out after.
//!
//! Build the workspace first: it runs the broker that lies beside it. The logic is in `e2e::revocation_check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use e2e::crash_loop::built_with_failpoints;
use e2e::revocation_check::{Plan, Progress, Sabotage, run};
use indicatif::{ProgressBar, ProgressStyle};

/// Asks three brokers on one PostgreSQL for tokens and sessions while operators revoke, disable, rotate and give back,
/// and brokers are paused, cut off and killed; then checks the whole history.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
A violation is a call that began after a revocation was acknowledged and that was granted although nothing gave the right
back in between. A revocation without a certain answer counts as none; a right counts as given back from the moment that is
asked for. Beside that, everything that was handed out has to have exactly one audit record.

Examples:
  revocation-check --operations 1000000
  revocation-check --operations 50000 --seed 42     the same choices again; timing is the machine's
  revocation-check --operations 20000 --sabotage epoch    brokers that do not look at the rights epoch are found out
  revocation-check --folder /tmp/check              keep database and logs there

Exit codes: 0 nothing was found (with --sabotage: a violation was), 1 the other way round, 2 wrong usage or it could not be run."
)]
struct Arguments {
    /// How many calls and changes
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// Decides every choice; random if not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many ask at each broker at the same time, at most 100
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// How many operators change rights at the same time, at most 100
    #[arg(long, default_value_t = 24)]
    operators: usize,
    /// Spoil the brokers, to see that it is found out
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
    /// Keep state and logs in this new folder
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(play(Arguments::parse())).await {
        Ok(code) => code,
        Err(error) => {
            // Without a reader there is nobody to tell.
            drop(writeln!(std::io::stderr(), "revocation-check: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn play(arguments: Arguments) -> Result<ExitCode> {
    let plan = plan_of(&arguments)?;
    let bar = ProgressBar::new(plan.operations);
    let style = "[{elapsed_precise}] {bar:30} {pos}/{len} operations, about {eta} left, {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let mut shown = |progress: Progress| {
        bar.set_position(progress.operations.min(plan.operations));
        bar.set_message(format!("{} faults", progress.faults));
    };
    let report = tokio::select! {
        report = Box::pin(run(&plan, &mut shown)) => report?,
        // Brokers and database go with the check.
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the seed was {}", plan.seed),
    };
    bar.finish_and_clear();
    let text = if arguments.json { format!("{:#}", report.json()) } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    let good = match plan.sabotage {
        None => report.is_clean(),
        Some(_) => report.violated() > 0,
    };
    Ok(ExitCode::from(u8::from(!good)))
}

fn plan_of(arguments: &Arguments) -> Result<Plan> {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut plan = Plan::new(arguments.operations, seed);
    let fits = |count: usize| (1..=100).contains(&count);
    ensure!(fits(arguments.callers), "--callers: use 1 to 100");
    ensure!(fits(arguments.operators), "--operators: use 1 to 100");
    (plan.callers, plan.operators) = (arguments.callers, arguments.operators);
    plan.sabotage = arguments.sabotage;
    let able = plan.sabotage.is_none() || built_with_failpoints()?;
    ensure!(able, "this sabotage needs a broker that was built with failpoints");
    plan.folder.clone_from(&arguments.folder);
    if let Some(folder) = &plan.folder {
        std::fs::create_dir(folder)?;
    }
    Ok(plan)
}
