//! A database that an older state of the code made, kept as text, and all that is needed to serve from it.
//!
//! Never reads a table: what it says about the database was written down when it was made. Invariant: the provider and
//! the mail servers of a fixture listen on [`PORTS`], since the addresses in its rows cannot be changed afterwards.
//! Next: `tests/fixtures/README.md` says how one is made, `tests/upgrade.rs` what is asked of it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use token_broker_client::v1;

use super::binaries::tests_folder;
use super::engine::Engine;
use super::house::{House, private};
use crate::cast::mailbox::settings::{MailboxSettings, Ports};
use crate::cast::provider::record::TokenRecord;
use crate::cast::provider::settings::{ProviderSettings, Rotation};

/// The provider, IMAP, IMAP with TLS, SMTP, SMTP with TLS: below the ports that [`super::ports`] hands out.
pub const PORTS: [u16; 5] = [11_801, 11_802, 11_803, 11_804, 11_805];

/// The id of the service that the fixture's [`Kept::service_key`] belongs to.
pub const SERVICE: &str = "crm";

/// The database as SQL text.
pub const DUMP: &str = "dump.sql";
/// What is beside it as JSON text: a [`Kept`].
pub const KEPT: &str = "kept.json";
/// Files of the broker's folder that are kept as they are.
pub const FILES: [&str; 2] = ["kek", "admin.key"];

/// How long the ports of the world before may take to come free.
const FREE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// What is kept beside the database. All secrets in it are test secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The API key of a service that may read all mail.
    pub service_key: String,
    /// The password of alice's proxy credential.
    pub password: String,
    /// The audit as it was.
    pub audit: Vec<Record>,
    /// Every token that the provider had issued.
    pub ledger: Vec<TokenRecord>,
}

/// One record of the audit, without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the chain.
    pub sequence: i64,
    /// What happened.
    pub event: String,
    /// Who did it.
    pub actor: String,
    /// To which account.
    pub account: String,
    /// To what else.
    pub subject: String,
    /// Granted or refused.
    pub granted: bool,
    /// The chain's hash up to it, in hexadecimal.
    pub hash: String,
}

impl From<&v1::AuditRecord> for Record {
    fn from(record: &v1::AuditRecord) -> Self {
        Self {
            sequence: record.sequence,
            event: record.event.clone(),
            actor: record.actor.clone(),
            account: record.account.clone(),
            subject: record.subject.clone(),
            granted: record.granted,
            hash: data_encoding::HEXLOWER.encode(&record.hash),
        }
    }
}

/// One fixture.
#[derive(Clone, Debug)]
pub struct Fixture {
    schema: i64,
    engine: Engine,
    folder: PathBuf,
}

impl Fixture {
    /// All there are for `engine`, the oldest first.
    ///
    /// # Errors
    /// There is none, or their folder cannot be read.
    pub fn each(engine: Engine) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(tests_folder().join("fixtures"))? {
            let folder = entry?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(schema) = name.strip_prefix("schema-") {
                let schema = schema.parse().with_context(|| name.to_owned())?;
                all.push(Self { schema, engine, folder: folder.join(folder_of(engine)) });
            }
        }
        ensure!(!all.is_empty(), "there are no fixtures");
        all.sort_by_key(|fixture| fixture.schema);
        Ok(all)
    }

    /// The number of the last migration that its database has seen.
    pub fn schema(&self) -> i64 {
        self.schema
    }

    /// Where its database was kept.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What is kept beside the database.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept(&self) -> Result<Kept> {
        let text = std::fs::read_to_string(self.folder.join(KEPT))?;
        serde_json::from_str(&text).context(KEPT)
    }

    /// Gives the database and the keys to a house that was founded and has none yet.
    ///
    /// # Errors
    /// The dump is not taken, or a file cannot be written.
    pub async fn restore(&self, house: &House) -> Result<()> {
        for file in FILES {
            private(&house.folder().join(file), &std::fs::read_to_string(self.folder.join(file))?)?;
        }
        let dump = AssertSqlSafe(std::fs::read_to_string(self.folder.join(DUMP))?);
        match house.postgres_url() {
            Some(url) => {
                let mut database = PgConnection::connect(url).await?;
                sqlx::raw_sql(dump).execute(&mut database).await?;
                database.close().await?;
            }
            None => {
                let file = SqliteConnectOptions::new().filename(house.folder().join("broker.db"));
                let mut database = file.create_if_missing(true).connect().await?;
                sqlx::raw_sql(dump).execute(&mut database).await?;
                database.close().await?;
            }
        }
        Ok(())
    }
}

/// The name of the folder for `engine`.
pub fn folder_of(engine: Engine) -> &'static Path {
    Path::new(match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    })
}

/// The provider that the rows of every fixture name: single-use refresh tokens, the kind that forgives nothing.
pub fn provider() -> ProviderSettings {
    let [port, ..] = PORTS;
    ProviderSettings { port, rotation: Rotation::Strict, ..ProviderSettings::default() }
}

/// The mail servers that the rows of every fixture name.
pub fn mailbox() -> MailboxSettings {
    let [_, imap, imaps, smtp, smtps] = PORTS;
    let ports = Ports { imap, imaps, smtp, smtps };
    MailboxSettings { ports, ..MailboxSettings::default() }
}

/// Waits until nobody listens on [`PORTS`]: those of a world that was just dropped close a moment later.
///
/// # Errors
/// Somebody else does.
pub async fn ports_are_free() -> Result<()> {
    let began = Instant::now();
    for port in PORTS {
        while TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(
                began.elapsed() < FREE,
                "port {port} on 127.0.0.1 is taken: the rows of the fixtures name it, so end whatever listens there"
            );
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}
