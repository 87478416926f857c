//! The store: what the broker knows, durable, on embedded SQLite or PostgreSQL.
//!
//! The only room that speaks SQL. It never seals, opens, signs or judges: secrets come and go as `Sealed`, rights as
//! `Guarded` rows whose MAC is somebody else's to check. There is no trait: two engines are an enum with one SQL text
//! per verb (`engine.rs`). Invariants: reads are methods of [`Conn`] and go through a read-only pool; writes are methods
//! of [`Tx`], which only the one writer hands out (`writer.rs`), so nothing that writes runs inside a request that a
//! client can cancel, and [`Store::write`] returns after the durable commit. Next: one file per aggregate, from
//! `projects.rs` to `audit.rs`.

mod access_tokens;
mod accounts;
mod apps;
mod attempts;
mod audit;
mod bell;
mod callers;
mod consents;
mod credentials;
mod engine;
mod epoch;
mod error;
mod grants;
mod keys;
mod ledger;
mod migrations;
mod page;
mod pending;
mod postgres;
mod projects;
mod refreshes;
mod replicas;
mod reseal;
mod row;
mod sessions;
mod settings;
mod sqlite;
mod status;
mod terms;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::accounts::AccountFilter;
pub use self::audit::first_break;
pub use self::bell::Bell;
pub use self::engine::{Conn, Tx};
pub use self::epoch::{Change, Changed, REMEMBERED};
pub use self::error::{Error, Result};
pub use self::grants::KEPT;
pub use self::keys::{Instance, KeyTerm};
pub use self::page::{Page, PageRequest};
pub use self::refreshes::TurnEnd;
pub use self::replicas::Replica;
pub use self::reseal::Reseal;
pub use self::sessions::SessionReport;
pub use self::settings::Settings;
pub use self::status::{Counts, PausedApp};
pub use self::terms::{COUNTED, Kind, NamedRow, SealedCell, Swap};
pub use self::writer::Work;

use self::engine::Pool;
use self::sqlite::Lock;
use self::writer::Writer;
use crate::tasks::Tasks;

/// How long a read waits for another to give its connection back. Short, so that a slow database sheds load.
const READ_WAIT: Duration = Duration::from_millis(250);
/// How long a read waits for a new connection, with its TLS and password handshakes.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The open store. Clones share everything.
///
/// A SQLite file stays locked until the last clone and the writer are gone.
#[derive(Clone, Debug)]
pub struct Store {
    readers: Pool,
    writer: Writer,
    _lock: Option<Arc<Lock>>,
}

impl Store {
    /// Opens the store, brings its tables up to date and starts the one writer.
    ///
    /// `tasks` carries the writer. It should be the store's own and be drained last: when it is told to stop, the writer
    /// commits what is queued, refuses the rest and ends.
    ///
    /// # Errors
    /// [`Error::Locked`] if another broker has the file, [`Error::NewerSchema`] if a newer broker wrote it,
    /// [`Error::Damaged`] if SQLite finds the file corrupt, [`Error::Unreachable`] if it cannot be opened or reached.
    pub async fn open(settings: &Settings, tasks: &Tasks) -> Result<Self> {
        let opened = match settings {
            Settings::Sqlite { path } => sqlite::open(path).await?,
            Settings::Postgres { url, max_connections } => {
                postgres::open(url, *max_connections).await?
            }
        };
        let mut first = opened.writer.acquire().await?.closing_on_drop();
        if let Some(lock) = &opened.lock {
            sqlite::quick_check(&mut first, lock).await?;
        }
        migrations::apply(&mut first).await?;
        drop(first);
        let lock = opened.lock.map(Arc::new);
        let writer = writer::start(opened.writer, lock.clone(), tasks);
        Ok(Self { readers: opened.readers, writer, _lock: lock })
    }

    /// A read-only connection from the pool. Each statement on it sees the newest commit.
    ///
    /// # Errors
    /// [`Error::Busy`] if none is given back within 250 ms, or none can be made within 2 s.
    pub async fn read(&self) -> Result<Conn> {
        let wait = if self.readers.is_full() { READ_WAIT } else { CONNECT_WAIT };
        tokio::time::timeout(wait, self.readers.acquire()).await.unwrap_or(Err(Error::Busy))
    }

    /// Hands `job` to the one writer and waits until it is durably committed or certainly rolled back.
    ///
    /// Up to 64 queued jobs share a transaction, each in a savepoint of its own: a job that returns an error is rolled
    /// back alone. A caller that stops waiting changes nothing; the job still ends. Within the job, never wait for
    /// anything but the transaction: every other writer stands behind it.
    ///
    /// ```ignore
    /// store.write(move |tx| Box::pin(async move { tx.insert_app(&app).await })).await?;
    /// ```
    ///
    /// # Errors
    /// The job's own, or for the whole group: [`Error::Busy`] if the queue is full or the writer has stopped,
    /// [`Error::Full`] if the disk is, [`Error::Unreachable`] if the connection broke. After `Unreachable` the
    /// commit may have happened: look before repeating what must not be done twice.
    pub async fn write<T, J>(&self, job: J) -> Result<T>
    where
        J: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
        T: Send + 'static,
    {
        self.writer.write(job).await
    }
}
