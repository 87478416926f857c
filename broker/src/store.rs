//! The store: what the broker knows, durable, on embedded SQLite or PostgreSQL.
//!
//! The only room that speaks SQL. It never seals, opens, signs or judges: secrets come and go as `Sealed`, rights as
//! `Guarded` rows whose MAC is somebody else's to check. There is no trait: two engines are an enum with one SQL text
//! per verb (`engine.rs`). Invariants: reads are methods of [`Conn`] and go through a read-only pool; writes are methods
//! of [`Tx`], which only the one writer hands out (`writer.rs`), so nothing that writes runs inside a request that a
//! client can cancel, and [`Store::write`] returns after the durable commit; what is handed out is judged and recorded by
//! the decision lane (`lane.rs`). Next: one file per aggregate, from `projects.rs` to `audit.rs`.

mod access_tokens;
mod accounts;
mod apps;
mod attempts;
mod audit;
mod bell;
mod callers;
mod chains;
mod changes;
mod consents;
mod credentials;
mod desk;
mod engine;
mod epoch;
mod error;
mod giving_back;
mod grants;
mod group;
mod keys;
mod lane;
mod ledger;
mod lowest;
mod many;
mod migrations;
mod open_sessions;
mod page;
mod pending;
mod postgres;
mod pressure;
mod projects;
mod refreshes;
mod replicas;
mod reseal;
mod row;
mod sessions;
mod settings;
mod sqlite;
mod status;
mod stroke;
mod terms;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::accounts::AccountFilter;
pub use self::audit::{AuditFilter, ChainEnd, EventFilter, first_break};
pub use self::bell::{Bell, Rings, Rung};
pub use self::chains::{Pruned, STRIDE};
pub use self::changes::{Changes, Sight};
pub use self::engine::{Conn, Tx};
pub use self::epoch::{Change, Changed, REMEMBERED};
pub use self::error::{Error, Result};
pub use self::grants::KEPT;
pub use self::keys::{Instance, KeyTerm};
pub use self::lane::{Decision, LaneState, Opening, RELAXED_LAG, Verdict};
pub use self::open_sessions::{SESSIONS_AT_ONCE, SessionFilter, Touched};
pub use self::page::{Page, PageRequest};
pub use self::refreshes::TurnEnd;
pub use self::replicas::Replica;
pub use self::reseal::Reseal;
pub use self::sessions::SessionReport;
pub use self::settings::Settings;
pub use self::status::{Counts, PausedApp};
pub use self::terms::{COUNTED, Kind, NamedRow, SealedCell, Swap};
pub use self::writer::Work;

use tokio::sync::Mutex;

use self::desk::Desk;
use self::engine::Pool;
use self::lane::{Lane, Rules};
use self::sqlite::Lock;
use self::writer::Writer;
use crate::failpoint;
use crate::tasks::Tasks;

/// The chain of a broker that has its database to itself.
pub const OWN_CHAIN: &str = "broker";

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
    lane: Lane,
    _lock: Option<Arc<Lock>>,
}

impl Store {
    /// Opens the store, brings its tables up to date and starts the writer and the decision lane, whose records go to the
    /// audit chain [`OWN_CHAIN`].
    ///
    /// `tasks` carries the writer and the lane. It should be the store's own and be drained last: when it is told to stop,
    /// they commit what is queued, refuse the rest and end.
    ///
    /// # Errors
    /// [`Error::Locked`] if another broker has the file, [`Error::NewerSchema`] if a newer broker wrote it,
    /// [`Error::Damaged`] if SQLite finds the file corrupt, [`Error::Unreachable`] if it cannot be opened or reached.
    pub async fn open(settings: &Settings, tasks: &Tasks) -> Result<Self> {
        Self::open_as(settings, OWN_CHAIN, tasks).await
    }

    /// The same for one of several brokers: `chain` names the audit chain of what it hands out, and should be no other's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_as(settings: &Settings, chain: &str, tasks: &Tasks) -> Result<Self> {
        let heeds_epoch = !failpoint::skips("decision.epoch");
        let rules = Rules { heeds_epoch, relaxed_lag: RELAXED_LAG };
        Self::open_by(settings, (chain, rules), tasks).await
    }

    async fn open_by(
        settings: &Settings,
        (chain, rules): (&str, Rules),
        tasks: &Tasks,
    ) -> Result<Self> {
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
        let epoch = first.rights_epoch().await.unwrap_or_default();
        drop(first);
        let lock = opened.lock.map(Arc::new);
        let desk = Arc::new(Mutex::new(Desk::new(opened.writer.clone())));
        // A file has one writer; a server has room for both.
        let desk_of_lane = match &opened.writer {
            Pool::Sqlite(_) => Arc::clone(&desk),
            Pool::Postgres(pool) => Arc::new(Mutex::new(Desk::new(Pool::Postgres(pool.clone())))),
        };
        let (lane, clerk) = lane::lane(desk_of_lane.clone(), (chain.to_owned(), epoch), rules);
        let (writer, jobs) = writer::queue();
        let deciding = tasks.spawn(clerk.serve(tasks.stopping()));
        let (stopping, held) = (tasks.stopping(), lock.clone());
        drop(tasks.spawn(async move {
            writer::serve(Arc::clone(&desk), jobs, stopping).await;
            drop(deciding.await);
            for desk in [desk, desk_of_lane] {
                desk.lock().await.leave();
            }
            opened.writer.close().await;
            drop(held);
        }));
        Ok(Self { readers: opened.readers, writer, lane, _lock: lock })
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

    /// Has the decision lane judge a decision by the newest rights and record it; durable when this returns
    /// [`Verdict::Stands`]. A caller that stops waiting changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many wait or the lane has stopped; else what befell its group. Nothing is to be handed out then.
    pub fn decide(&self, decision: Decision) -> impl Future<Output = Result<Verdict>> {
        // In a box from here on: it is moved several times before it is written.
        self.lane.decide(Box::new(decision))
    }

    /// The same without waiting for the record, if the rights epoch was looked at within [`RELAXED_LAG`]: a crash may lose
    /// the record of what was handed out.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn decide_relaxed(&self, decision: Decision) -> impl Future<Output = Result<Verdict>> {
        self.lane.decide_relaxed(Box::new(decision))
    }

    /// How long the quickest group of decisions took to commit of late; `None` if one that came now would be refused with
    /// [`Error::Busy`].
    pub fn commit_time(&self) -> Option<Duration> {
        self.lane.commit_time()
    }

    /// Looks at the rights epoch: whatever was acknowledged before this was called is known when it returns.
    ///
    /// # Errors
    /// As every read.
    pub async fn catch_up(&self) -> Result<()> {
        let mut conn = self.read().await?;
        self.lane.look(&mut conn).await
    }

    /// What this process knows of the rights epoch.
    pub fn changes(&self) -> &Changes {
        self.lane.changes()
    }

    /// How the decision lane is doing.
    pub fn lane_state(&self) -> LaneState {
        self.lane.state()
    }
}
