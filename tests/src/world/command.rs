//! Programs that run to their end: `brokerctl`, curl, scripts.
//!
//! Every run has a deadline and takes its secrets from files or stdin, never from arguments where others could read them.
//! Next: [`super::clients`] and [`super::operator`].

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(60);
const SLOW: Duration = Duration::from_secs(600);

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program and its arguments, for reports.
    pub what: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said on stdout.
    pub stdout: String,
    /// What it said on stderr.
    pub stderr: String,
}

impl Run {
    /// This run, if it ended with 0.
    ///
    /// # Errors
    /// It did not; the text holds all it said.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.code == Some(0), "{self}");
        Ok(self)
    }

    /// Its stdout as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| self.to_string())
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended with {:?}\n{}{}", self.what, self.code, self.stdout, self.stderr)
    }
}

/// A program about to be run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    what: String,
    stdin: Vec<u8>,
}

impl Program {
    /// The program `path`, looked up in `PATH` if it has no slash.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let mut command = Command::new(path);
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, what: path.display().to_string(), stdin: Vec::new() }
    }

    /// With another argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        let argument = argument.into();
        self.what = format!("{} {}", self.what, argument.to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// With this to read.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The command as it stands, for who wants to talk to it while it runs.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end, at most a minute.
    ///
    /// # Errors
    /// It cannot be started or does not end in time.
    pub async fn run(self) -> Result<Run> {
        self.run_within(DEADLINE).await
    }

    /// Runs it to its end, at most ten minutes: for what may have to install or build something.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_slowly(self) -> Result<Run> {
        self.run_within(SLOW).await
    }

    async fn run_within(mut self, deadline: Duration) -> Result<Run> {
        self.command.stdin(Stdio::piped());
        let mut child = self.command.spawn().with_context(|| format!("start {}", self.what))?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let fed = async move {
            // A program may end without reading.
            drop(stdin.write_all(&self.stdin).await);
            drop(stdin);
        };
        let both = async { tokio::join!(fed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(deadline, both).await;
        let output = output.with_context(|| format!("{} does not end", self.what))??;
        Ok(Run {
            what: self.what,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Whether a program is installed.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
