//! The product as an operator runs it: a broker or several, two adapters, each a process of its own.
//!
//! It knows nothing of who plays opposite: a fake cast and real servers look the same from here. Everything is in one folder
//! that goes with it. Invariant: a [`House`] that was started answers on all its ports. Next: [`super::replica`].

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::binaries::binary;
use super::command::{Program, Run};
use super::doors::{AdapterDoors, BrokerDoors};
use super::engine::{Engine, Postgres};
use super::fixture::Fixture;
use super::operator::Operator;
use super::process::Process;
use super::replica::Replica;
use super::settings;
use crate::cast::ca::TestCa;
use crate::cast::cable::Cable;

/// How long a process may take until it answers: generous, since builds may run beside.
pub(super) const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// What a house is told before it is built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where state is kept.
    pub engine: Engine,
    /// Whom broker and adapters trust beside the system's roots; the house's own authority if absent.
    pub upstream_ca: Option<PathBuf>,
    /// What broker and adapters log, as `tracing` filters.
    pub log: String,
    /// Whether there are adapters.
    pub adapters: bool,
    /// After how many seconds the first refusal of a grant is confirmed.
    pub confirm_after_s: u64,
    /// Whether tokens are handed out before their record is durable.
    pub relaxed: bool,
    /// Lines of the brokers' `[audit]`.
    pub audit: String,
    /// How many brokers share the database; more than one need PostgreSQL.
    pub replicas: usize,
    /// Whether the brokers' names are left to them.
    pub nameless: bool,
    /// Whether each broker has a cable of its own to PostgreSQL, which can be cut.
    pub cables: bool,
    /// Calls a second of the token endpoint for each app; the broker's own default if absent.
    pub rate_per_app: Option<f64>,
    /// Where everything is kept, also after the end; absent, a temporary folder.
    pub folder: Option<PathBuf>,
    /// Whether the adapters have a cable of their own to the first broker, which can be cut.
    pub adapter_cable: bool,
    /// After how many seconds without a broker adapters end their sessions; their own default if absent.
    pub orphan_ttl_s: Option<u32>,
    /// Whether PostgreSQL waits for the disk, as it does in earnest; SQLite always does.
    pub durable: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            engine: Engine::Sqlite,
            upstream_ca: None,
            log: "info".to_owned(),
            adapters: true,
            confirm_after_s: 0,
            relaxed: false,
            audit: String::new(),
            replicas: 1,
            nameless: false,
            cables: false,
            rate_per_app: None,
            folder: None,
            adapter_cable: false,
            orphan_ttl_s: None,
            durable: false,
        }
    }
}

/// The brokers and their adapters.
#[derive(Debug)]
pub struct House {
    // The order is the order of their end.
    adapters: Vec<Adapter>,
    cable: Option<Cable>,
    brokers: Vec<Replica>,
    postgres: Option<Postgres>,
    plan: Plan,
    folder: PathBuf,
    // Kept for its Drop, which removes the folder; processes hold the name, not the handle.
    _temporary: Option<TempDir>,
}

/// One adapter.
#[derive(Debug)]
struct Adapter {
    protocol: &'static str,
    doors: AdapterDoors,
    process: Process,
}

impl House {
    /// Builds it from nothing, as the README says: `init`, `serve`, a key for each adapter, the adapters.
    ///
    /// # Errors
    /// Whatever does not come up, with the last lines it said.
    pub async fn start(plan: Plan, ca: &TestCa) -> Result<Self> {
        let house = Self::found(plan, ca).await?;
        house.init().await?.ok()?;
        house.opened().await
    }

    /// Builds it on the database and the keys of `fixture` instead of `init`.
    ///
    /// # Errors
    /// As [`start`](Self::start), or the fixture cannot be restored.
    pub async fn restored(plan: Plan, ca: &TestCa, fixture: &Fixture) -> Result<Self> {
        let house = Self::found(plan, ca).await?;
        fixture.restore(&house).await?;
        house.opened().await
    }

    /// The folder with configuration and certificates; nothing runs yet, nothing is initialised.
    ///
    /// # Errors
    /// The folder cannot be written, or the database does not come up.
    pub async fn found(plan: Plan, ca: &TestCa) -> Result<Self> {
        let (folder, temporary) = match &plan.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                // A database server of another user has to enter it.
                let open = std::fs::Permissions::from_mode(0o755);
                let temporary =
                    tempfile::Builder::new().prefix("token-broker-").permissions(open).tempdir()?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let postgres = match plan.engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Postgres::start(&folder.join("pg"), plan.durable).await?),
        };
        ca.write_pem(&folder.join("ca.pem"))?;
        let (certificate, key) = ca.certificate(&["localhost", "127.0.0.1"])?;
        std::fs::write(folder.join("server.pem"), certificate)?;
        private(&folder.join("server.key"), &key)?;
        ensure!(plan.replicas == 1 || postgres.is_some(), "a file has one broker");
        let mut brokers = Vec::new();
        for number in 0..plan.replicas {
            let database = postgres.as_ref().map(Postgres::url);
            brokers.push(Replica::found(&plan, &folder, number, database).await?);
        }
        let adapters = Vec::new();
        Ok(Self { adapters, cable: None, brokers, postgres, plan, folder, _temporary: temporary })
    }

    /// Runs `token-broker init`.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn init(&self) -> Result<Run> {
        Program::new(binary("token-broker")?).arg("init").arg("--dir").arg(&self.folder).run().await
    }

    /// Runs all brokers and waits until they are ready.
    ///
    /// # Errors
    /// One ends, or is not ready in time.
    pub async fn open(&mut self) -> Result<()> {
        for broker in &mut self.brokers {
            broker.open().await?;
        }
        Ok(())
    }

    /// What the brokers find in their environment, from their next start on.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        for broker in &mut self.brokers {
            broker.set_environment(environment.clone());
        }
    }

    /// Another `token-broker serve` on the first broker's configuration, without waiting for anything.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn serve(&self) -> Result<Process> {
        self.first().serve()
    }

    /// The first broker's process.
    ///
    /// # Errors
    /// It was never started.
    pub fn broker(&mut self) -> Result<&mut Process> {
        self.replica(0)?.process()
    }

    /// A broker by its number, from 0.
    ///
    /// # Errors
    /// There are not so many.
    pub fn replica(&mut self, number: usize) -> Result<&mut Replica> {
        self.brokers.get_mut(number).with_context(|| format!("there is no broker {number}"))
    }

    /// All brokers, in order.
    pub fn replicas(&self) -> &[Replica] {
        &self.brokers
    }

    /// Kills the first broker as a power cut does and starts it again on what it left.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn crash(&mut self) -> Result<()> {
        self.replica(0)?.crash().await
    }

    /// Where the first broker listens.
    pub fn doors(&self) -> &BrokerDoors {
        self.first().doors()
    }

    /// Where the adapter for `protocol` (`imap`, `smtp`) listens.
    ///
    /// # Errors
    /// There is none.
    pub fn adapter(&self, protocol: &str) -> Result<&AdapterDoors> {
        let found = self.adapters.iter().find(|adapter| adapter.protocol == protocol);
        Ok(&found.with_context(|| format!("no {protocol} adapter"))?.doors)
    }

    /// The cable between the adapters and the first broker.
    ///
    /// # Errors
    /// The plan wanted none.
    pub fn adapter_cable(&self) -> Result<&Cable> {
        self.cable.as_ref().context("the adapters have no cable")
    }

    /// The first administrator.
    ///
    /// # Errors
    /// `init` has not run.
    pub async fn operator(&self) -> Result<Operator> {
        Operator::with_key(self, &self.folder.join("admin.key")).await
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first broker's configuration file.
    pub fn config(&self) -> PathBuf {
        self.first().config()
    }

    /// The authority of the adapters' certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The database of the PostgreSQL engine.
    pub fn postgres_url(&self) -> Option<&str> {
        self.postgres.as_ref().map(Postgres::url)
    }

    /// The ids of all its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.processes().map(Process::id).collect()
    }

    /// The logs of all processes by name.
    pub fn logs(&self) -> Vec<(String, String)> {
        self.processes().map(|process| (process.name().to_owned(), process.log())).collect()
    }

    /// The last lines of all logs.
    pub fn tails(&self) -> String {
        self.processes().map(Process::tail).collect()
    }

    /// Stops everything as an operator does, adapters first.
    ///
    /// # Errors
    /// A process had ended before, does not stop, fails in doing so, or has panicked.
    pub async fn stop(&mut self) -> Result<()> {
        let adapters = self.adapters.iter_mut().map(|adapter| &mut adapter.process);
        let brokers = self.brokers.iter_mut().filter_map(Replica::started_mut);
        for process in adapters.chain(brokers) {
            let early = process.ended();
            ensure!(early.is_none(), "{} had ended: {early:?}\n{}", process.name(), process.tail());
            let status = process.stop().await?;
            ensure!(status.success(), "{} stops with {status}\n{}", process.name(), process.tail());
            let log = process.log();
            ensure!(!log.contains("panicked at"), "{} panicked\n{log}", process.name());
        }
        Ok(())
    }

    async fn opened(mut self) -> Result<Self> {
        self.open().await?;
        if self.plan.adapters {
            self.start_adapters().await?;
        }
        Ok(self)
    }

    async fn start_adapters(&mut self) -> Result<()> {
        let operator = self.operator().await?;
        if self.plan.adapter_cable {
            self.cable = Some(Cable::lay(self.doors().grpc).await?);
        }
        for protocol in ["imap", "smtp"] {
            let key = self.folder.join(format!("{protocol}.key"));
            let key = key.to_string_lossy();
            let create =
                ["caller", "create", protocol, "--role", "adapter", "--protocol", protocol];
            operator.ctl(&[&create[..], &["--output-secret", &key]].concat()).await?;
            let adapter = self.start_adapter(protocol).await?;
            self.adapters.push(adapter);
        }
        Ok(())
    }

    async fn start_adapter(&self, protocol: &'static str) -> Result<Adapter> {
        let doors = AdapterDoors::pick()?;
        let config = self.folder.join(format!("{protocol}.toml"));
        let grpc = self.cable.as_ref().map_or(self.doors().grpc, Cable::address);
        std::fs::write(&config, settings::adapter(protocol, &self.plan, grpc, &doors))?;
        let arguments = ["--config".into(), config.into_os_string()];
        let program = binary(&format!("{protocol}-adapter"))?;
        let log = self.folder.join(format!("{protocol}.log"));
        let mut process =
            Process::spawn(&format!("{protocol}-adapter"), &program, &arguments, &[], &log)?;
        let began = Instant::now();
        while !doors.is_ready().await {
            let ended = process.ended();
            let late = ended.is_some() || began.elapsed() > READY;
            ensure!(!late, "the {protocol} adapter is not ready ({ended:?})\n{}", process.tail());
            tokio::time::sleep(POLL).await;
        }
        Ok(Adapter { protocol, doors, process })
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let brokers = self.brokers.iter().filter_map(Replica::started);
        brokers.chain(self.adapters.iter().map(|adapter| &adapter.process))
    }

    /// There is always one.
    fn first(&self) -> &Replica {
        &self.brokers[0]
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// It cannot be written.
pub fn private(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}
