//! `timing`: measures whether the time of a refused login tells why it was refused. Exit code 1 if it does.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::timing::{Break, Plan, measure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Has a broker refuse logins that are wrong in three ways, in random order, and compares how long its verdicts take.
///
/// The verdict is the broker's, without the second or more that an adapter is told to wait. t is Welch's, for each two kinds
/// of login, over all samples and without the slowest; beyond 5 they are told apart.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// How many refusals to measure
    #[arg(long, default_value_t = 1_000_000)]
    samples: u64,
    /// Logins under way at one time
    #[arg(long, default_value_t = 256)]
    at_once: usize,
    /// Leave out what hides the difference, to see it found
    #[arg(long = "break", value_name = "STEP", value_enum)]
    broken: Option<Break>,
    /// Where the order comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  timing --samples 1000000
  timing --samples 30000 --break bare     # finds the difference: exit code 1
  timing --samples 100000 --json

Exit codes: 0 nothing can be told, 1 some |t| is 5 or more, 2 wrong usage.";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments { samples, at_once, broken, seed, json } = Arguments::parse();
    let shape = "{bar:40} {pos}/{len} samples, {eta} left";
    let style = ProgressStyle::with_template(shape).context("the shape of the bar")?;
    let bar = ProgressBar::new(samples).with_style(style);
    let shown = bar.clone();
    let plan = Plan { samples, at_once: at_once.max(1), broken, seed };
    let report = Box::pin(measure(&plan, move |taken| shown.set_position(taken))).await?;
    bar.finish_and_clear();
    let figures = report.figures();
    let text = if json { format!("{figures:#}\n") } else { table(&figures) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(figures: &Value) -> String {
    let rows = |name: &str| figures[name].as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!(
        "{:<32}{:>9}{:>12}{:>11}{:>15}{:>11}{:>12}{:>15}\n",
        "refused for",
        "n",
        "mean us",
        "sd us",
        "mean us, 99 %",
        "sd us",
        "least us",
        "beyond a step"
    )];
    for row in rows("classes") {
        lines.push(format!(
            "{:<32}{:>9}{:>12.1}{:>11.1}{:>15.1}{:>11.1}{:>12}{:>15}\n",
            text(&row["class"]),
            row["n"].to_string(),
            number(&row["mean_us"]),
            number(&row["sd_us"]),
            number(&row["mean_us_99"]),
            number(&row["sd_us_99"]),
            row["least_us"].to_string(),
            row["beyond_a_step"].to_string()
        ));
    }
    lines.push(String::new());
    for row in rows("pairs") {
        let kept = row["t_by_percent_kept"].as_object().cloned().unwrap_or_default();
        let mut ts: Vec<String> =
            kept.iter().map(|(cut, t)| format!("{cut} %: {:+.2}", number(t))).collect();
        // From all of them to the fastest half.
        ts.sort_by_key(|text| std::cmp::Reverse((text.find(' '), text.clone())));
        let pair = format!("{} / {}", text(&row["one"]), text(&row["other"]));
        lines.push(format!("{pair:<52} t of the fastest {}\n", ts.join("   ")));
    }
    lines.push(format!(
        "largest |t| {:.2}, limit {}\n",
        number(&figures["worst_t"]),
        figures["limit"]
    ));
    lines.concat()
}
