//! One process of the product: started, watched, ended.
//!
//! What it says goes to a file. It is ended by its own id and never by a name: first told to stop, killed if it does not.
//! Invariant: when a [`Process`] is dropped its process is gone. Next: [`super::house`] keeps them together.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const STOP: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);
const TAIL: usize = 40;

/// A running or ended process and its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program`; `name` is for people. Its output is appended to the file `log`. It inherits the environment without
    /// what could steer it, plus `env`.
    ///
    /// # Errors
    /// It cannot be started or the log cannot be written.
    pub fn spawn<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[A],
        env: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        for (key, _) in std::env::vars_os() {
            let steers = key.to_str().is_some_and(|key| {
                ["TOKEN_BROKER", "BROKERCTL", "RUST_LOG"].iter().any(|start| key.starts_with(start))
            });
            if steers {
                command.env_remove(key);
            }
        }
        command.envs(env.iter().map(|(key, value)| (*key, value)));
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf(), ended: None })
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Where its log is.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// All that it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log, for a report.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        format!("--- {} ({}), last lines:\n{}\n", self.name, self.log.display(), shown.join("\n"))
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // It may have ended by itself meanwhile.
            drop(self.child.kill());
            self.ended = self.child.wait().ok();
        }
    }

    /// Sends it a signal by name, such as `TERM`, `HUP`, `STOP`.
    pub fn signal(&mut self, name: &str) {
        if self.ended().is_none() {
            let id = self.id().to_string();
            let sent = Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status();
            // A process that is gone needs no signal.
            drop(sent);
        }
    }

    /// Tells it to stop and waits until it has.
    ///
    /// # Errors
    /// It has not stopped after 15 seconds; it is killed then.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM");
        self.wait(STOP).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not in time; it is killed then.
    pub async fn wait(&mut self, at_most: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if began.elapsed() > at_most {
                self.kill();
                bail!("{} did not end within {at_most:?}\n{}", self.name, self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("TERM");
        let began = Instant::now();
        while self.ended().is_none() && began.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(POLL);
        }
        self.kill();
    }
}
