//! Two engines as an enum: a pool, a connection and a transaction of either, and the macros that run one SQL text on both.
//!
//! Never knows a table. The common subset: `$1` placeholders, `returning`, `on conflict`, 64-bit integers (times are
//! milliseconds), text, and bytes; rows are read as tuples. Invariant: every text that runs is declared by
//! `statements!`, so one test prepares all of them on both engines. Next: `writer.rs` for transactions, the
//! aggregates for the verbs.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use super::error::{Error, Result};
use super::pending::Pending;
use crate::clock::Time;

/// Connections of either engine.
#[derive(Clone)]
pub(super) enum Pool {
    /// The embedded engine.
    Sqlite(SqlitePool),
    /// The server.
    Postgres(PgPool),
}

/// A connection of either engine. Its methods are the reads; the aggregates add them.
pub struct Conn(pub(super) Wire, Option<Noted>);

/// When the database was asked for the time, and what it said.
type Noted = (Instant, Time);

pub(super) enum Wire {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// The transaction that the writer lends to a job. Its methods are the writes; it reads like a [`Conn`].
#[derive(Debug)]
pub struct Tx {
    conn: Conn,
    /// What is written once for all jobs.
    pub(super) pending: Pending,
}

/// Runs `$body` with `$wire` bound to the connection of whichever engine it is.
macro_rules! on {
    ($conn:expr, $wire:ident => $body:expr) => {
        match &mut $conn.0 {
            $crate::store::engine::Wire::Sqlite(pooled) => {
                let $wire = &mut **pooled;
                $body
            }
            $crate::store::engine::Wire::Postgres(pooled) => {
                let $wire = &mut **pooled;
                $body
            }
        }
    };
}

/// At most one row as a tuple: `Result<Option<$row>>`.
macro_rules! maybe {
    ($conn:expr, $sql:expr => $row:ty $(; $bind:expr)*) => {
        $crate::store::engine::on!($conn, wire => {
            sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_optional(wire).await
        })
        .map_err($crate::store::Error::from)
    };
}

/// All rows as tuples: `Result<Vec<$row>>`. The text must hold a `limit` or a bound by nature.
macro_rules! all {
    ($conn:expr, $sql:expr => $row:ty $(; $bind:expr)*) => {
        $crate::store::engine::on!($conn, wire => {
            sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_all(wire).await
        })
        .map_err($crate::store::Error::from)
    };
}

/// How many rows the statement touched: `Result<u64>`.
macro_rules! run {
    ($conn:expr, $sql:expr $(; $bind:expr)*) => {
        $crate::store::engine::on!($conn, wire => {
            sqlx::query($sql)$(.bind($bind))*.execute(wire).await.map(|done| done.rows_affected())
        })
        .map_err($crate::store::Error::from)
    };
}

/// Declares SQL texts: a constant each, and `STATEMENTS`, the list that the test prepares.
macro_rules! statements {
    ($($name:ident = $text:expr;)+) => {
        $(const $name: &str = $text;)+
        #[cfg(test)]
        pub(in crate::store) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

pub(super) use {all, maybe, on, run, statements};

impl Pool {
    /// A connection, within the pool's own time limit.
    pub(super) async fn acquire(&self) -> Result<Conn> {
        let wire = match self {
            Self::Sqlite(pool) => Wire::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Wire::Postgres(pool.acquire().await?),
        };
        Ok(Conn(wire, None))
    }

    /// Whether it has all the connections it may have, so that whoever wants one waits for another to be given back.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.size() >= pool.options().get_max_connections(),
            Self::Postgres(pool) => pool.size() >= pool.options().get_max_connections(),
        }
    }

    /// Closes all connections and waits for it.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Conn {
    /// The time by the database's clock, the only one that all brokers share. It is asked once each transaction; from there
    /// on our own clock, which need not be right for that, says how long ago that was.
    pub(super) async fn database_now(&mut self) -> Result<Time> {
        if let Some((asked, then)) = self.1 {
            return Ok(then.after(asked.elapsed()));
        }
        let now = self.ask_time().await?;
        self.1 = Some((Instant::now(), now));
        Ok(now)
    }

    async fn ask_time(&mut self) -> Result<Time> {
        let row = match &self.0 {
            Wire::Sqlite(_) => maybe!(self, sql::NOW_SQLITE => (i64,))?,
            Wire::Postgres(_) => maybe!(self, sql::NOW_POSTGRES => (i64,))?,
        };
        row.map(|(millis,)| Time::from_millis(millis))
            .ok_or(Error::Refused { code: "no time".into() })
    }

    /// Never goes back to the pool: dropped in the middle of a transaction, it takes the transaction with it.
    pub(super) fn closing_on_drop(mut self) -> Self {
        match &mut self.0 {
            Wire::Sqlite(pooled) => pooled.close_on_drop(),
            Wire::Postgres(pooled) => pooled.close_on_drop(),
        }
        self
    }
}

/// Writing goes by turns: within a SQLite file by its write lock, among brokers on one PostgreSQL by an
/// advisory lock. So no two writers ever hold rows that the other waits for, and what a job read stays true until its
/// commit, on either engine alike. Decisions take no turn (`lane.rs`): they write to no row that exists.
mod sql {
    pub(super) const BEGIN_SQLITE: &str = "begin immediate";
    pub(super) const BEGIN_POSTGRES: &str = "begin";
    pub(super) const TURN_POSTGRES: &str = "select pg_advisory_xact_lock(8389754676633367411)";
    pub(super) const COMMIT: &str = "commit";
    pub(super) const MARK: &str = "savepoint job";
    pub(super) const KEEP: &str = "release savepoint job";
    pub(super) const NEXT: &str = "release savepoint job; savepoint job";
    pub(super) const UNDO: &str = "rollback to savepoint job";
    pub(super) const NOW_SQLITE: &str = "select cast(unixepoch('subsec') * 1000 as integer)";
    pub(super) const NOW_POSTGRES: &str =
        "select cast(extract(epoch from clock_timestamp()) * 1000 as bigint)";
}

impl Tx {
    /// Opens a transaction on the connection and takes the turn.
    pub(super) async fn begin(mut conn: Conn) -> Result<Self> {
        conn.1 = None;
        match &conn.0 {
            Wire::Sqlite(_) => run!(conn, sql::BEGIN_SQLITE)?,
            Wire::Postgres(_) => {
                run!(conn, sql::BEGIN_POSTGRES)?;
                run!(conn, sql::TURN_POSTGRES)?
            }
        };
        Ok(Self { conn, pending: Pending::default() })
    }

    /// Opens a transaction that takes no turn: for what needs none, since it only appends rows that nobody else names.
    pub(super) async fn begin_beside(mut conn: Conn) -> Result<Self> {
        conn.1 = None;
        match &conn.0 {
            Wire::Sqlite(_) => run!(conn, sql::BEGIN_SQLITE)?,
            Wire::Postgres(_) => run!(conn, sql::BEGIN_POSTGRES)?,
        };
        Ok(Self { conn, pending: Pending::default() })
    }

    /// Where the first job begins.
    pub(super) async fn mark(&mut self) -> Result<()> {
        self.pending.mark();
        run!(self.conn, sql::MARK).map(drop)
    }

    /// Keeps what was done since the mark; the next job begins here.
    pub(super) async fn next(&mut self) -> Result<()> {
        on!(self.conn, wire => sqlx::raw_sql(sql::NEXT).execute(wire).await.map(drop))?;
        self.pending.mark();
        Ok(())
    }

    /// Keeps what was done since the mark, by the last job.
    pub(super) async fn keep(&mut self) -> Result<()> {
        run!(self.conn, sql::KEEP).map(drop)
    }

    /// Undoes what was done since the mark. It stays: the next job begins here.
    pub(super) async fn undo(&mut self) -> Result<()> {
        self.pending.undo();
        run!(self.conn, sql::UNDO).map(drop)
    }

    /// Makes it durable and gives the connection back. Dropping instead undoes everything.
    pub(super) async fn commit(mut self) -> Result<Conn> {
        run!(self.conn, sql::COMMIT)?;
        Ok(self.conn)
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Wire::Sqlite(_) => "Conn::Sqlite",
            Wire::Postgres(_) => "Conn::Postgres",
        })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Pool::Sqlite",
            Self::Postgres(_) => "Pool::Postgres",
        })
    }
}
