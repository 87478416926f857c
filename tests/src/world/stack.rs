//! The real servers: a certified OAuth server, Dovecot and Postfix, brought up by `tests/stack`.
//!
//! Nothing in it is ours but configuration. One stack serves one test at a time; ports and folder are its own. Invariant:
//! what it started is stopped when it is dropped. Next: `tests/stack/README.md`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::binaries::tests_folder;
use super::command::{Program, Run};
use super::engine::skip;

/// Stacks of one run take a hundred ports each from here on, below the system's own range.
const FIRST_BASE: u16 = 21_000;
const BASES: u16 = 90;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// Running real servers.
#[derive(Debug)]
pub struct Stack {
    base: u16,
    data: PathBuf,
    endpoints: HashMap<String, String>,
}

impl Stack {
    /// Brings one up; `settings` are those of `up.sh`. `None` if something is not installed, which is said.
    ///
    /// # Errors
    /// It does not come up; or something is missing and `CI=true`.
    pub async fn up(settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let installed = Program::new(script("install.sh")).run_slowly().await?;
        match installed.code {
            Some(0) => {}
            Some(3) => {
                skip(&format!("the real stack: {}", installed.stderr.trim()))?;
                return Ok(None);
            }
            _ => bail!("{installed}"),
        }
        let base = free_base()?;
        let data = std::env::temp_dir().join(format!("stack-{}-{base}", std::process::id()));
        let mut stack = Self { base, data, endpoints: HashMap::new() };
        let mut up = stack.program("up.sh");
        for (name, value) in settings {
            up = up.env(name, value);
        }
        let said = up.run_slowly().await?.ok()?;
        let pairs = said.stdout.lines().filter_map(|line| line.split_once('='));
        stack.endpoints = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Some(stack))
    }

    /// What `up.sh` said about `name`, such as `OAUTH` or `IMAPS`.
    ///
    /// # Errors
    /// It said nothing: that server does not run here.
    pub fn endpoint(&self, name: &str) -> Result<&str> {
        let found = self.endpoints.get(&format!("STACK_{name}"));
        found.map(String::as_str).with_context(|| format!("this stack has no {name}"))
    }

    /// The authority of its certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.data.join("tls/ca.crt")
    }

    /// Pulls a lever of the OAuth server, as the README's `curl $A/..` do.
    ///
    /// # Errors
    /// It does not answer with JSON.
    pub async fn admin(&self, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/admin/{path}", self.endpoint("OAUTH")?);
        let curl = Program::new("curl").args(["-sS", "--max-time", "20", &url]);
        let curl = match body {
            Some(body) => curl.args(["-d", "@-"]).stdin(body.to_string()),
            None => curl,
        };
        curl.run().await?.ok()?.json()
    }

    /// Walks `consent.py` from `link` as `login`, clicking our own pages; the page where it ends, as JSON.
    ///
    /// # Errors
    /// It gets stuck.
    pub async fn consent(&self, link: &str, login: &str) -> Result<Value> {
        let program = Program::new("python3").arg(tests_folder().join("consent.py"));
        let program = program.args([link, "--login", login, "--click", "2", "--json"]);
        program.run().await?.ok()?.json()
    }

    /// Puts `count` messages of `bytes` each straight into a mailbox.
    ///
    /// # Errors
    /// It does not work.
    pub async fn seed(&self, login: &str, count: u32, bytes: u32) -> Result<()> {
        let program = self.program("seed.py").args([login, &count.to_string(), &bytes.to_string()]);
        program.run().await?.ok()?;
        Ok(())
    }

    /// Stops or starts parts of it: `up.sh dovecot`, `down.sh oauth`.
    ///
    /// # Errors
    /// It does not work.
    pub async fn run(&self, script: &str, parts: &[&str]) -> Result<Run> {
        self.program(script).args(parts.iter().copied()).run_slowly().await?.ok()
    }

    fn program(&self, name: &str) -> Program {
        Program::new(script(name))
            .env("STACK_BASE", self.base.to_string())
            .env("STACK_DATA", &self.data)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut down = Command::new(script("down.sh"));
        down.arg("--wipe").env("STACK_BASE", self.base.to_string()).env("STACK_DATA", &self.data);
        // It only ends what its own records name.
        drop(down.stdout(Stdio::null()).status());
    }
}

/// A base whose first ports nobody uses.
fn free_base() -> Result<u16> {
    let start = u16::try_from(std::process::id() % u32::from(BASES)).unwrap_or(0);
    for _ in 0..BASES {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let base = FIRST_BASE + (start + step) % BASES * 100;
        let ports = (base..base + 18).chain([base + 90]);
        let free = ports.map(|port| std::net::TcpListener::bind(("127.0.0.1", port)));
        if free.collect::<std::io::Result<Vec<_>>>().is_ok() {
            return Ok(base);
        }
    }
    bail!("no hundred ports are free")
}

fn script(name: &str) -> PathBuf {
    tests_folder().join("stack").join(name)
}
