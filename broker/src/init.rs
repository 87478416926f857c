//! `token-broker init`: a folder from which `serve` can start.
//!
//! Never overwrites: what is there is used. Invariant: the key and the administrator's API key are files only their owner
//! may read. Next: the three steps it prints.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use token_broker::assemble::{self, Core, NewInstance};
use token_broker::config::{self, Config};
use token_broker::domain::ids::ResourceId;
use token_broker::domain::secret::Secret;
use token_broker::service::Error;

use crate::{Failure, env, say};

/// What `init` may be told.
#[derive(clap::Args)]
pub(crate) struct Init {
    /// The folder to prepare; made if it is not there.
    #[arg(long, default_value = "token-broker", value_name = "DIR")]
    dir: PathBuf,
    /// The id of the first administrator.
    #[arg(long, default_value = "admin", value_name = "ID")]
    admin: String,
}

const TEMPLATE: &str = include_str!("init/token-broker.toml");

/// Prepares the folder and prints what to do next.
pub(crate) async fn run(init: Init) -> Result<(), Failure> {
    let admin = ResourceId::parse(&init.admin)
        .map_err(|bad| Failure::config(format!("--admin {}: {bad}", init.admin)))?;
    let dir = std::path::absolute(&init.dir).map_err(Failure::start)?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&dir).map_err(|error| at(&dir, &error))?;
    let file = dir.join("token-broker.toml");
    if !file.exists() {
        write_private(&file, TEMPLATE).map_err(|error| at(&file, &error))?;
        say(&format!("wrote {}", file.display()));
    }
    let config = config::load(&file, &env).map_err(Failure::config)?;
    if assemble::make_kek(&config).map_err(Failure::start)? {
        say("made the key that seals all others; keep a copy apart from the store's backups");
    }
    let core = Core::open(&config, &|name| std::env::var_os(name), NewInstance::Make).await;
    let core = core.map_err(Failure::start)?;
    // The key is shown once: the file for it is there before the key is.
    let mut place = KeyFile::reserve(&dir)?;
    let outcome = match core.service.create_first_admin(admin).await {
        Ok(made) => made.shown.as_ref().map(|key| place.keep(key)).transpose(),
        Err(Error::AlreadyExists(_)) => place.give_up().map(|()| None),
        Err(error) => place.give_up().and(Err(Failure::start(error))),
    };
    core.close(std::time::Duration::from_secs(5)).await;
    tell_next_steps(&file, outcome?.as_deref(), &config);
    Ok(())
}

/// The file the administrator's key goes to: `admin.key`, or the next free name beside an old one.
struct KeyFile {
    path: PathBuf,
    file: std::fs::File,
}

impl KeyFile {
    fn reserve(dir: &Path) -> Result<Self, Failure> {
        let mut names = (1..100).map(|number| match number {
            1 => "admin.key".to_owned(),
            _ => format!("admin-{number}.key"),
        });
        let free = names.find(|name| !dir.join(name).exists());
        let path = dir.join(free.unwrap_or_else(|| "admin.key".to_owned()));
        let file = open_private(&path).map_err(|error| at(&path, &error))?;
        Ok(Self { path, file })
    }

    fn keep(&mut self, key: &Secret) -> Result<PathBuf, Failure> {
        let wrong = |error: &std::io::Error| at(&self.path, error);
        writeln!(self.file, "{}", key.expose()).map_err(|error| wrong(&error))?;
        self.file.sync_all().map_err(|error| wrong(&error))?;
        Ok(self.path.clone())
    }

    fn give_up(&self) -> Result<(), Failure> {
        std::fs::remove_file(&self.path).map_err(|error| at(&self.path, &error))
    }
}

fn tell_next_steps(file: &Path, key: Option<&Path>, config: &Config) {
    let Some(key) = key else {
        say("there is an administrator already; nothing was changed");
        return;
    };
    say(&format!("the administrator's key is in {}", key.display()));
    say("\nNext:");
    say(&format!("  1. token-broker serve --config {}", file.display()));
    say(&format!("  2. export BROKERCTL_SERVER=http://{}", config.admin.address));
    say(&format!("     export BROKERCTL_KEY_FILE={}", key.display()));
    say("  3. brokerctl app create --help");
}

/// Writes a file only its owner may read, which must not be there yet, and makes it durable.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut out = open_private(file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

fn open_private(file: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::start(format!("{}: {error}", path.display()))
}
