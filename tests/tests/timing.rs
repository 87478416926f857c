//! The time of a refusal does not tell why it was refused, and without what hides it, it does (threat T12).
//!
//! The short form of `make timing`. It never judges by how fast the machine is: with the step no refusal is answered within
//! it, whatever was wrong with the login; without it they are, and then the statistics have to find the difference.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

const SAMPLES: &str = "900";

/// What the program says, and whether it found nothing.
async fn timing(arguments: &[&str]) -> Result<(Value, bool)> {
    let few = ["--json", "--at-once", "8", "--samples", SAMPLES];
    let mut program = Command::new(env!("CARGO_BIN_EXE_timing"));
    let run = program.args(few).args(arguments).output().await?;
    let said = String::from_utf8(run.stdout)?;
    let figures = serde_json::from_str(&said)
        .with_context(|| format!("{said}{}", String::from_utf8_lossy(&run.stderr)))?;
    Ok((figures, run.status.success()))
}

/// The shortest time of each class, in milliseconds.
fn least(figures: &Value) -> Result<Vec<u64>> {
    let classes = figures["classes"].as_array().context("no classes")?;
    ensure!(classes.len() == 3, "{figures}");
    classes.iter().map(|it| Ok(it["least_us"].as_u64().context("no time")? / 1000)).collect()
}

#[tokio::test]
async fn t12_no_refusal_is_answered_before_the_end_of_its_step_whatever_was_wrong() -> Result<()> {
    let (figures, _) = timing(&[]).await?;
    let step = figures["step_ms"].as_u64().context("no step")?;
    assert!(least(&figures)?.iter().all(|least| *least >= step), "{figures}");
    Ok(())
}

#[tokio::test]
async fn t12_without_the_step_the_same_logins_are_told_apart_by_their_time() -> Result<()> {
    let (figures, found_nothing) = timing(&["--break", "bare"]).await?;
    let step = figures["step_ms"].as_u64().context("no step")?;
    assert!(least(&figures)?.iter().any(|least| *least < step), "{figures}");
    assert!(!found_nothing, "the measurement is blind: {figures}");
    Ok(())
}
