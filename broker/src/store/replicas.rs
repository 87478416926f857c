//! The broker processes that share the store: who lives, and what each knows of the keys.
//!
//! Never decides. Invariants: life is judged by the database's clock, which all share; a process that stops takes its row
//! away, so a row that grows old is one that went without a word. Next: `service/presence` writes it.

use std::time::Duration;

use super::engine::{Conn, Tx, all, run, statements};
use super::error::Result;
use super::row::{Cells, json_list, row};
use crate::clock::Time;

/// A broker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name, then what changes at each start.
    pub name: String,
    /// The software's version.
    pub version: String,
    /// When it started.
    pub started_at: Time,
    /// When it last said that it lives.
    pub seen_at: Time,
    /// How long ago that was, by the database's clock.
    pub silent: Duration,
    /// Whether it refuses new calls.
    pub draining: bool,
    /// The term it seals under.
    pub active_term: u32,
    /// For how long it has, by the database's clock.
    pub settled: Duration,
    /// The newest term it can open.
    pub known_term: u32,
    /// The oldest term that something on its own disk needs; 0 for none.
    pub needed_term: u32,
    /// The key-encryption keys it can read.
    pub kek_ids: Vec<String>,
}

row!(
    ReplicaRow,
    replica_columns {
        name: String,
        version: String,
        started_at: i64,
        seen_at: i64,
        draining: i64,
        active_term: i64,
        active_since: i64,
        known_term: i64,
        needed_term: i64,
        kek_ids: String,
    }
);

statements! {
    REPLICAS = concat!("select ", replica_columns!(), " from replicas order by name limit 1000");
    SEEN = concat!("insert into replicas (", replica_columns!(), ") values ($1, $2, $3, $4, $5, $6, $4, $7, $8, $9)
        on conflict (name) do update set seen_at = excluded.seen_at, draining = excluded.draining,
            active_since = case when replicas.active_term = excluded.active_term then replicas.active_since
                else excluded.active_since end,
            active_term = excluded.active_term, known_term = excluded.known_term,
            needed_term = excluded.needed_term, kek_ids = excluded.kek_ids");
    GONE = "delete from replicas where name = $1";
    FOLLOWED = "delete from replicas where substr(name, 1, length($1)) = $1 and name <> $2";
    FORGET = "delete from replicas where seen_at < $1";
}

impl Conn {
    /// The first 1000, by name.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if a row cannot be understood; else as every read.
    pub async fn replicas(&mut self) -> Result<Vec<Replica>> {
        let rows = all!(self, REPLICAS => ReplicaRow)?;
        let now = self.database_now().await?;
        rows.into_iter().map(|row| row.read(now)).collect()
    }
}

impl Tx {
    /// Says that one lives; `seen_at`, `silent` and `settled` are not looked at.
    ///
    /// # Errors
    /// As every write.
    pub async fn see_replica(&mut self, it: &Replica) -> Result<()> {
        let now = self.database_now().await?;
        run!(self, SEEN; it.name.as_str(); it.version.as_str(); it.started_at.millis(); now.millis();
            i64::from(it.draining); i64::from(it.active_term); i64::from(it.known_term);
            i64::from(it.needed_term); json_list(&it.kek_ids))
        .map(drop)
    }

    /// Takes the rows away of those that had this one's name, up to what changes at each start: nobody else can have it.
    ///
    /// # Errors
    /// As every write.
    pub async fn follow_replica(&mut self, prefix: &str, name: &str) -> Result<()> {
        run!(self, FOLLOWED; prefix; name).map(drop)
    }

    /// One stops.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_replica(&mut self, name: &str) -> Result<()> {
        run!(self, GONE; name).map(drop)
    }

    /// Forgets those that have said nothing for so long.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_replicas(&mut self, silent: Duration) -> Result<u64> {
        let before = self.database_now().await?.before(silent);
        run!(self, FORGET; before.millis())
    }
}

impl ReplicaRow {
    fn read(self, now: Time) -> Result<Replica> {
        let at = Cells::of("replicas", self.name.as_bytes());
        let seen_at = Time::from_millis(self.seen_at);
        Ok(Replica {
            silent: seen_at.until(now),
            settled: Time::from_millis(self.active_since).until(now),
            seen_at,
            version: self.version,
            started_at: Time::from_millis(self.started_at),
            draining: self.draining == 1,
            active_term: at.number("active_term", self.active_term)?,
            known_term: at.number("known_term", self.known_term)?,
            needed_term: at.number("needed_term", self.needed_term)?,
            kek_ids: at.json("kek_ids", &self.kek_ids)?,
            name: self.name,
        })
    }
}
