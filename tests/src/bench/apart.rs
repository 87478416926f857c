//! A part of the bench in a process of its own, so that what it does costs those who are measured elsewhere nothing.
//!
//! It is this program, started again. It reads what to do from the first line of its standard input, says when it is at it,
//! goes on until that input ends, and prints what came of it. Invariant: it ends with the bench, whatever became of that.

use std::future::Future;
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The process, from the outside.
#[derive(Debug)]
pub(super) struct Apart {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Apart {
    /// Starts this program with an `argument` and a `plan`, in the scheduler's idle class if it stands for machines that are
    /// not here, and waits until it is at it.
    pub(super) async fn start(argument: &str, plan: &impl Serialize, idle: bool) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = if idle { Command::new("chrt") } else { Command::new(&program) };
        if idle {
            command.args(["--idle", "0"]).arg(&program);
        }
        command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start the bench again (chrt is of util-linux)")?;
        let plan = serde_json::to_string(plan)? + "\n";
        child.stdin.as_mut().context("no input")?.write_all(plan.as_bytes()).await?;
        let said = child.stdout.take().context("no output")?;
        let mut apart = Self { child, said: BufReader::new(said).lines() };
        ensure!(apart.said.next_line().await?.is_some(), "{argument} did not begin");
        Ok(apart)
    }

    /// Ends it; what came of it.
    pub(super) async fn stop<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let outcome = self.said.next_line().await?.context("it failed")?;
        ensure!(self.child.wait().await?.success(), "it failed");
        Ok(serde_json::from_str(&outcome)?)
    }
}

/// What to do, from the inside.
pub(super) fn plan<T: DeserializeOwned>() -> Result<T> {
    let mut plan = String::new();
    std::io::stdin().read_line(&mut plan)?;
    Ok(serde_json::from_str(&plan)?)
}

/// Says that it is at it; what is given back ends when it is to stop.
pub(super) fn begun() -> Result<impl Future<Output = Result<()>>> {
    say("begun")?;
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    Ok(async { end.await?.map(drop).map_err(Into::into) })
}

/// Says what came of it.
pub(super) fn ended(outcome: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string(outcome)?)
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
