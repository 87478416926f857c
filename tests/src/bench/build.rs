//! How long a stranger waits for the demo to be built: cold, then warm.
//!
//! In a target folder of its own, so that it disturbs no other build.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::binaries::tests_folder;

/// Builds twice.
pub(super) async fn measure() -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let cold = build(folder.path())?;
    let warm = build(folder.path())?;
    Ok(json!({ "cold_s": cold, "warm_s": warm }))
}

fn build(target: &std::path::Path) -> Result<f64> {
    let began = Instant::now();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--workspace", "--bins", "--locked"]).current_dir(tests_folder());
    cargo.env("CARGO_TARGET_DIR", target).stdout(Stdio::null());
    ensure!(cargo.status()?.success(), "the build fails");
    Ok(began.elapsed().as_secs_f64())
}
