//! `simulate`: plays seeds of the refresh simulation, or the schedule of a whole fleet. Exit code 1 if an invariant broke.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::simulation::{Break, fleet, run};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// How many events are shown before a broken invariant, of one of many seeds and of a single one.
const TOLD: (usize, usize) = (60, 2_000);

/// How many broken seeds are shown; all are counted.
const SHOWN: usize = 3;

/// Plays the refresh core against models of store, provider, replicas and people.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to play
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Do one step of the driver wrong, to see it found
    #[arg(long = "break", value_name = "STEP", value_parser = step)]
    broken: Option<Break>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Instead, play the schedule of so many accounts
    #[arg(long, value_name = "ACCOUNTS")]
    fleet: Option<u32>,
    /// Days of the fleet
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Calls a second that the provider allows the fleet; a fifth above what it needs, if not given
    #[arg(long)]
    rate: Option<f64>,
}

fn step(name: &str) -> Result<Break, String> {
    let names = Break::ALL.map(Break::name).join(", ");
    Break::parse(name).ok_or_else(|| format!("one of {names}"))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.fleet {
        Some(accounts) => play_fleet(&arguments, accounts),
        None => play_seeds(&arguments),
    }
}

fn play_seeds(arguments: &Arguments) -> Result<ExitCode> {
    let bar = bar(arguments.seeds, "seeds")?;
    let mut sum = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64, 0_i64);
    let mut broken = Vec::new();
    let last = arguments.first_seed.saturating_add(arguments.seeds);
    for seed in arguments.first_seed..last {
        let out = run(seed, arguments.broken, 0);
        sum.0 += out.events;
        sum.1 += out.calls;
        sum.2 += out.granted;
        sum.3 += out.faults;
        sum.4 += out.excused;
        sum.5 += out.virtual_ms;
        if out.broken.is_some() {
            // The same again, watched.
            let told = if arguments.seeds == 1 { TOLD.1 } else { TOLD.0 };
            let shown = broken.len() < SHOWN;
            broken.push(if shown { run(seed, arguments.broken, told) } else { out });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let figures = json!({
        "seeds": arguments.seeds,
        "first_seed": arguments.first_seed,
        "broken": broken.iter().map(|out| json!({ "seed": out.seed, "invariant": out.broken })).collect::<Vec<_>>(),
        "events": sum.0,
        "provider_calls": sum.1,
        "tokens_handed_out": sum.2,
        "faults": sum.3,
        "losses_excused_and_flagged": sum.4,
        "virtual_days": sum.5 / 86_400_000,
        "seconds": bar.elapsed().as_secs_f64(),
    });
    let mut text = String::new();
    if !arguments.json {
        for out in broken.iter().take(SHOWN) {
            text.push_str(&format!("{out}\n\n"));
        }
    }
    text.push_str(&report(&figures, arguments.json));
    write(&text)?;
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play_fleet(arguments: &Arguments, accounts: u32) -> Result<ExitCode> {
    let days = arguments.days.max(1);
    let bar = bar(u64::from(days) * 24, "hours")?;
    let plan = fleet::Plan { accounts, days, rate: arguments.rate, seed: arguments.first_seed };
    let found = fleet::run(&plan, &mut |hours| bar.set_position(hours));
    bar.finish_and_clear();
    let good = found.is_good();
    let figures = found.figures(&plan, bar.elapsed().as_secs_f64());
    write(&report(&figures, arguments.json))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bar(length: u64, what: &str) -> Result<ProgressBar> {
    let shape = format!("{{bar:40}} {{pos}}/{{len}} {what}, {{eta}} left");
    let style = ProgressStyle::with_template(&shape).context("the shape of the bar")?;
    Ok(ProgressBar::new(length).with_style(style))
}

fn report(figures: &serde_json::Value, as_json: bool) -> String {
    if as_json {
        return format!("{figures:#}\n");
    }
    let lines = figures.as_object().into_iter().flatten();
    lines.map(|(name, value)| format!("{:<32} {value}\n", name.replace('_', " "))).collect()
}

fn write(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
