//! Where the broker under test keeps its state.
//!
//! SQLite is a file in the world's folder; PostgreSQL is a private server that `tests/postgres.sh` starts on a free port and
//! that goes with the world. Next: [`super::house`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::binaries::tests_folder;
use super::command::Program;

/// The two engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Engine {
    /// Both engines, or the one that can run here; what is missing is said.
    ///
    /// # Errors
    /// PostgreSQL is not installed and `CI=true`.
    pub fn each() -> Result<Vec<Self>> {
        let installed = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|versions| {
            versions.flatten().any(|it| it.path().join("bin/initdb").is_file())
        });
        if installed || std::env::var_os("POSTGRES_BIN").is_some() {
            return Ok(vec![Self::Sqlite, Self::Postgres]);
        }
        skip("on PostgreSQL: it is not installed (tests/stack/install.sh installs it)")?;
        Ok(vec![Self::Sqlite])
    }
}

/// A private PostgreSQL; dropping it ends and removes it.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    url: String,
}

impl Postgres {
    /// Starts one in the new folder `folder`; a `durable` one waits for the disk, which most tests need not.
    ///
    /// # Errors
    /// It is not installed or does not come up.
    pub async fn start(folder: &Path, durable: bool) -> Result<Self> {
        let start = Program::new(script()).arg("start").arg(folder).arg("0");
        let start = if durable { start.arg("--durable") } else { start };
        let run = start.run().await?.ok()?;
        Ok(Self { folder: folder.to_path_buf(), url: run.stdout.trim().to_owned() })
    }

    /// Where it listens: `postgres://..`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = Command::new(script());
        stop.arg("stop").arg(&self.folder).args(["--crash", "--wipe"]);
        // It is a throwaway; what stays behind is in the temporary folder.
        drop(stop.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// Says why a test cannot run here.
///
/// # Errors
/// With `CI=true` nothing may be skipped.
#[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
pub fn skip(why: &str) -> Result<()> {
    ensure!(std::env::var("CI").as_deref() != Ok("true"), "must not be skipped: {why}");
    eprintln!("skipped: {why}");
    Ok(())
}

fn script() -> PathBuf {
    tests_folder().join("postgres.sh")
}
