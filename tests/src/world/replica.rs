//! One broker process of a house, with its doors, its configuration and, if wanted, its own cable to the database.
//!
//! Brokers of one house share database and keys and nothing else: each has its own configuration file, log and folder for
//! spilled answers. Invariant: a [`Replica`] that was opened answers on all its doors. Next: [`super::house`] keeps them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use url::Url;

use super::binaries::binary;
use super::doors::BrokerDoors;
use super::house::{Plan, READY, private};
use super::process::Process;
use super::settings::{self, Among};
use crate::cast::cable::Cable;

const POLL: Duration = Duration::from_millis(5);

/// A broker among those of a house; the first is number 0.
#[derive(Debug)]
pub struct Replica {
    number: usize,
    process: Option<Process>,
    cable: Option<Cable>,
    doors: BrokerDoors,
    environment: Vec<(&'static str, String)>,
    folder: PathBuf,
}

impl Replica {
    /// Writes its configuration into the house's folder; nothing runs yet.
    ///
    /// # Errors
    /// The folder cannot be written, or no port is free.
    pub(super) async fn found(
        plan: &Plan,
        folder: &Path,
        number: usize,
        database: Option<&str>,
    ) -> Result<Self> {
        let cable = match database {
            Some(url) if plan.cables => Some(Cable::lay(address_of(url)?).await?),
            _ => None,
        };
        let replica = Self {
            number,
            process: None,
            cable,
            doors: BrokerDoors::pick()?,
            environment: Vec::new(),
            folder: folder.to_path_buf(),
        };
        if let Some(url) = database {
            let mut url = Url::parse(url)?;
            if let Some(cable) = &replica.cable {
                ensure!(url.set_port(Some(cable.address().port())).is_ok(), "no port in {url}");
            }
            private(&folder.join(replica.file("postgres", "url")), url.as_str())?;
        }
        let among = (plan.replicas > 1)
            .then(|| Among { name: replica.name(), spill: replica.file("spill", "") });
        let url = replica.file("postgres", "url");
        let text = settings::broker(plan, &replica.doors, &url, among.as_ref());
        std::fs::write(replica.config(), text)?;
        Ok(replica)
    }

    /// Runs `token-broker serve` and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub async fn open(&mut self) -> Result<()> {
        self.process = Some(self.serve()?);
        let began = Instant::now();
        loop {
            let process = self.process()?;
            if let Some(status) = process.ended() {
                bail!("the broker ended with {status}\n{}", process.tail());
            }
            if self.doors.is_ready().await {
                return Ok(());
            }
            let late = began.elapsed() > READY;
            ensure!(!late, "the broker is not ready\n{}", self.process()?.tail());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Another `token-broker serve` on the same configuration, without waiting for anything.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn serve(&self) -> Result<Process> {
        let arguments = ["serve".into(), "--config".into(), self.config().into_os_string()];
        let log = self.folder.join(self.file("broker", "log"));
        Process::spawn(&self.name(), &binary("token-broker")?, &arguments, &self.environment, &log)
    }

    /// Kills it as a power cut does and starts it again on what it left.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn crash(&mut self) -> Result<()> {
        self.process()?.kill();
        self.open().await
    }

    /// What it finds in its environment, from its next start on.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment = environment;
    }

    /// Its process.
    ///
    /// # Errors
    /// It was never started.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the broker was not started")
    }

    /// Its process, if it was started and not forgotten since.
    pub(super) fn started(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// The same, to be stopped.
    pub(super) fn started_mut(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Kills it for good: the house does not miss it at its end.
    ///
    /// # Errors
    /// It was never started.
    pub fn bury(&mut self) -> Result<()> {
        self.process()?.kill();
        self.process = None;
        Ok(())
    }

    /// Where it listens.
    pub fn doors(&self) -> &BrokerDoors {
        &self.doors
    }

    /// Its way to the database, if there is one to cut.
    ///
    /// # Errors
    /// The house was built without.
    pub fn cable(&self) -> Result<&Cable> {
        self.cable.as_ref().context("a house without cables")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join(self.file("token-broker", "toml"))
    }

    /// The answers that it could not store yet.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn spilled(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join(self.file("spill", ""));
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let paths = entries.into_iter().map(|entry| entry.path());
        Ok(paths.filter(|path| path.extension().is_some_and(|kind| kind == "spill")).collect())
    }

    fn name(&self) -> String {
        self.file("broker", "")
    }

    /// The name of one of its files in the house's folder; those of the first have the usual names.
    fn file(&self, stem: &str, kind: &str) -> String {
        let number = match self.number {
            0 => String::new(),
            number => format!("-{number}"),
        };
        let dot = if kind.is_empty() { "" } else { "." };
        format!("{stem}{number}{dot}{kind}")
    }
}

fn address_of(url: &str) -> Result<std::net::SocketAddr> {
    let url = Url::parse(url)?;
    let host = url.host_str().context("a database without a host")?;
    Ok(std::net::SocketAddr::new(host.parse()?, url.port().context("a database without a port")?))
}
