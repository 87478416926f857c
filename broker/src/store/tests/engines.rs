//! One sentence, two tests: on a SQLite file, and on a private PostgreSQL that dies with the test process.
//!
//! Never touches a server that was there before. The cluster is made once per process from Debian's binaries, on a free
//! loopback port, and a small shell holds it: the shell reads a pipe from the test process, and when that ends, however it
//! ends, the shell stops the server by its pid and removes its files. Without PostgreSQL the tests say that they are
//! skipped; with `CI=true` they fail.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::domain::secret::Secret;
use crate::entropy::Entropy;
use crate::store::{Settings, Store};
use crate::tasks::Tasks;

/// Expands to a test per engine.
macro_rules! each_engine {
    ($(async fn $name:ident($home:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn sentence($home: $crate::store::tests::engines::Home) $body

            #[tokio::test]
            async fn on_sqlite() {
                sentence($crate::store::tests::engines::Home::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                if let Some(home) = $crate::store::tests::engines::Home::postgres().await {
                    sentence(home).await;
                }
            }
        }
    )+};
}

pub(super) use each_engine;

/// An empty place for a store.
pub(in crate::store) struct Home {
    pub(super) settings: Settings,
    _dir: Option<tempfile::TempDir>,
}

impl Home {
    pub(in crate::store) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::Sqlite { path: dir.path().join("broker.db") };
        Self { settings, _dir: Some(dir) }
    }

    /// `None` if PostgreSQL is not installed.
    pub(super) async fn postgres() -> Option<Self> {
        let url = match Cluster::shared() {
            Ok(cluster) => cluster.database().await,
            Err(missing) => {
                assert!(std::env::var_os("CI").is_none(), "{missing}");
                eprintln!("skipped: {missing}");
                return None;
            }
        };
        Some(Self { settings: Settings::Postgres { url, max_connections: 6 }, _dir: None })
    }

    pub(in crate::store) async fn open(&self) -> Store {
        self.open_with(&Tasks::new()).await
    }

    pub(super) async fn open_with(&self, tasks: &Tasks) -> Store {
        Store::open(&self.settings, tasks).await.unwrap()
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.settings {
            Settings::Sqlite { path } => Some(path),
            Settings::Postgres { .. } => None,
        }
    }
}

struct Cluster {
    port: u16,
    password: String,
    /// Held for its stdin: when that closes, the server stops.
    _shell: Child,
}

/// Stops the server when stdin ends. `$1` is the cluster's folder, the rest the server's command line.
const SHELL: &str =
    r#"dir=$1; shift; "$@" & pid=$!; cat >/dev/null; kill -INT $pid; wait $pid; rm -rf "$dir""#;

impl Cluster {
    fn shared() -> Result<&'static Self, &'static str> {
        static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
        CLUSTER.get_or_init(Self::start).as_ref().map_err(String::as_str)
    }

    fn start() -> Result<Self, String> {
        let bin = binaries().ok_or(
            "PostgreSQL is not installed (apt-get install postgresql); its store tests did not run",
        )?;
        let dir = tempfile::Builder::new().prefix("store-tests-").tempdir().unwrap().keep();
        let password = data_encoding::HEXLOWER.encode(&Entropy::system().bytes::<16>());
        fs::write(dir.join("password"), &password).unwrap();
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres:"]).arg(&dir));
        }
        let data = dir.join("data");
        run(unprivileged(&bin.join("initdb"))
            .args(["--username=broker", "--auth=scram-sha-256", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .arg(format!("--pwfile={}", dir.join("password").display()))
            .arg(&data));
        // Between choosing a port and listening on it another process may take it: then choose again.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut shell = hold(&bin, &dir, &data, port);
            if answers(&bin, port, &mut shell) {
                return Ok(Self { port, password, _shell: shell });
            }
        }
        panic!("PostgreSQL does not start, see {}", dir.join("log").display());
    }

    async fn database(&self) -> Secret {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(self.url("postgres").expose()).await.unwrap();
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        admin.close().await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> Secret {
        let Self { port, password, .. } = self;
        Secret::from(format!("postgres://broker:{password}@127.0.0.1:{port}/{database}"))
    }
}

/// Starts the server under a shell of its own process group, so that an interrupt from the keyboard reaches neither.
fn hold(bin: &Path, dir: &Path, data: &Path, port: u16) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let server = unprivileged(&bin.join("postgres"));
    let mut shell = Command::new("sh");
    shell.args(["-c", SHELL, "sh"]).arg(dir).arg(server.get_program()).args(server.get_args());
    shell.arg("-D").arg(data).arg("-p").arg(port.to_string()).arg("-k").arg(data);
    for setting in
        ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=200"]
    {
        shell.args(["-c", setting]);
    }
    shell.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    shell.spawn().unwrap()
}

fn answers(bin: &Path, port: u16, shell: &mut Child) -> bool {
    let patience = Instant::now() + Duration::from_secs(30);
    while Instant::now() < patience && shell.try_wait().unwrap().is_none() {
        let mut ready = Command::new(bin.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        if ready.status().unwrap().success() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// The newest installed version's binaries.
fn binaries() -> Option<PathBuf> {
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(version)?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}

/// PostgreSQL refuses to run as root, and its Debian package brings a user for it.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.output().and_then(|output| match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    });
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
}
