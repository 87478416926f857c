//! The broker's command line: which role, and what to print.
//!
//! Never more than that: `assemble` builds, `init` prepares.

mod init;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use token_broker::assemble::{self, Core, NewInstance};
use token_broker::{config, telemetry};

/// What a call makes is freed by another thread often: glibc's allocator takes a lock for that, and spends a fifth of the
/// processor on it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Keeps refresh tokens safe and hands out access tokens.
#[derive(Parser)]
#[command(name = "token-broker", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Prepare a folder: configuration, key, store and the first administrator.
    Init(init::Init),
    /// Run the broker until SIGTERM or Ctrl-C.
    Serve(Place),
    /// Read the configuration and say what is wrong with it.
    CheckConfig(Place),
    /// Make a key-encryption key in a new file: the next one of an instance (`brokerctl key --help`).
    NewKey(NewKey),
}

/// Where to put it.
#[derive(clap::Args)]
struct NewKey {
    /// The file, which must not be there yet; only its owner may read it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Which configuration.
#[derive(clap::Args)]
struct Place {
    /// The configuration file.
    #[arg(
        long,
        env = "TOKEN_BROKER_CONFIG",
        default_value = "token-broker.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  token-broker init --dir /srv/token-broker
  token-broker serve --config /srv/token-broker/token-broker.toml
  token-broker check-config --config token-broker.toml
  token-broker new-key /srv/token-broker/kek.next

Exit codes: 0 done, 1 could not start or go on, 2 wrong usage or configuration.
SIGHUP reads certificates again, SIGTERM stops after the calls in flight.";

fn main() -> ExitCode {
    match Cli::parse().role {
        Role::Init(init) => run(init::run(init)),
        Role::Serve(place) => run(serve(place.config)),
        Role::CheckConfig(place) => check(&place.config),
        Role::NewKey(NewKey { file }) => new_key(&file),
    }
}

fn run(role: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(role),
        Err(error) => Err(Failure::start(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

async fn serve(path: PathBuf) -> Result<(), Failure> {
    let config = config::load(&path, &env).map_err(Failure::config)?;
    telemetry::start(&config.log).map_err(Failure::config)?;
    #[cfg(feature = "failpoints")]
    if let Some(plan) = env("TOKEN_BROKER_FAILPOINT") {
        token_broker::failpoint::arm(&plan).map_err(Failure::config)?;
    }
    forbid_core_dumps();
    let core = Core::open(&config, &|name| std::env::var_os(name), NewInstance::Refuse).await;
    let core = core.map_err(Failure::start)?;
    assemble::serve(&config, core).await.map_err(Failure::start)
}

fn check(path: &Path) -> ExitCode {
    match config::load(path, &env) {
        Ok(_) => {
            say(&format!("{}: good", path.display()));
            ExitCode::SUCCESS
        }
        Err(problem) => Failure::config(problem).tell(),
    }
}

fn new_key(file: &Path) -> ExitCode {
    match assemble::new_kek(file) {
        Ok(id) => {
            say(&format!(
                "key {id} is in {}; keep a copy apart from the store's backups",
                file.display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => Failure::start(error).tell(),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Keeps the keys out of core dumps, and other processes of the same user out of the memory.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// Why a role ended badly, and with which exit code.
struct Failure {
    code: u8,
    words: String,
}

impl Failure {
    fn config(error: impl std::fmt::Display) -> Self {
        Self { code: 2, words: error.to_string() }
    }

    fn start(error: impl std::fmt::Display) -> Self {
        Self { code: 1, words: error.to_string() }
    }

    #[expect(clippy::print_stderr, reason = "this is the command line")]
    fn tell(self) -> ExitCode {
        eprintln!("token-broker: {}", self.words);
        ExitCode::from(self.code)
    }
}

#[expect(clippy::print_stdout, reason = "this is the command line")]
fn say(words: &str) {
    println!("{words}");
}
