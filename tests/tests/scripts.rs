//! The scripts behind `make` that judge: they can say no.
//!
//! Never runs a build or a test from within a test. (That `buf breaking` can say no is shown by `scripts/contract.sh` itself.)

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const TWO_CRATES: &str = "\
running 2 tests
test a ... ok
successes:

---- a stdout ----
skipped: PostgreSQL is not installed
successes:
    a

test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
failures:

---- b stdout ----
it broke

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn the_last_line_counts_all_crates_and_a_skipped_test_did_not_pass() -> Result<()> {
    let shown = counted(TWO_CRATES)?;
    ensure!(shown.ends_with("\n4 passed, 1 failed, 2 skipped\n"), "{shown}");
    ensure!(shown.contains("it broke"), "what failed is shown: {shown}");
    ensure!(shown.contains("skipped 1x: PostgreSQL is not installed"), "why is shown: {shown}");
    Ok(())
}

#[test]
fn without_a_test_there_is_no_count() -> Result<()> {
    let shown = counted("error: could not compile\n")?;
    ensure!(!shown.contains("passed"), "{shown}");
    Ok(())
}

#[test]
fn the_dependency_check_says_no_to_a_banned_a_doubled_and_an_unlicensed_crate() -> Result<()> {
    let policy = std::fs::read_to_string(root().join("deny.toml"))?;
    ensure!(judged(&policy)?.is_none(), "the tree keeps deny.toml");
    for (from, to, told) in [
        ("crate = \"async-std\"", "crate = \"tokio\"", "tokio is banned"),
        ("crate = \"zeroize\", deny", "crate = \"sha2\", deny", "sha2 is there 2 times"),
        ("    \"BSD-3-Clause\",\n", "", "subtle"),
    ] {
        let spoiled = policy.replace(from, to);
        ensure!(spoiled != policy, "{from} is in deny.toml");
        let said = judged(&spoiled)?.with_context(|| format!("{told}: not found"))?;
        ensure!(said.contains(told), "{said}");
    }
    Ok(())
}

fn counted(text: &str) -> Result<String> {
    let mut script = Command::new(root().join("scripts/count-tests.sh"));
    let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    running.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    Ok(String::from_utf8(running.wait_with_output()?.stdout)?)
}

/// What `deps.py` says under this policy; nothing if it is content.
fn judged(policy: &str) -> Result<Option<String>> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(policy.as_bytes())?;
    let script = root().join("scripts/deps.py");
    let run = Command::new("python3").arg(script).arg(file.path()).current_dir(root()).output()?;
    let said = String::from_utf8(run.stdout)? + &String::from_utf8(run.stderr)?;
    Ok((!run.status.success()).then_some(said))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
