//! The newest re-seal: where it is to end, who is at it, and how far it is.
//!
//! Never moves a value. Invariants: one row; whoever is at it has a lease by the database's clock and renews it with every
//! step, in the transaction of the step, so that two never work at once and nothing is counted twice. Next:
//! `service/reseal` does the steps.

use std::time::Duration;

use super::engine::{Conn, Tx, maybe, run, statements};
use super::error::Result;
use super::row::{Cells, row, time};
use crate::clock::Time;

/// A re-seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reseal {
    /// The term it moves everything to.
    pub term: u32,
    /// The broker process that is at it; empty for nobody yet.
    pub owner: String,
    /// How much is left of its lease.
    pub left: Duration,
    /// When it was started.
    pub started_at: Time,
    /// When it had gone through everything.
    pub ended_at: Option<Time>,
    /// How many values there were to move.
    pub total: i64,
    /// How many were moved.
    pub done: i64,
    /// How many stay as they are, because they do not fit.
    pub refused: i64,
    /// The first of them: (table, column, id).
    pub refused_rows: Vec<(String, String, String)>,
}

row!(ResealRow, reseal_columns {
    term: i64, owner: String, lease_until: i64, started_at: i64, ended_at: Option<i64>, total: i64, done: i64,
    refused: i64, refused_rows: String,
});

statements! {
    RESEAL = concat!("select ", reseal_columns!(), " from reseal where one = 1");
    BEGIN = concat!("insert into reseal (one, ", reseal_columns!(), ") values (1, $1, '', 0, $2, null, $3, 0, 0, '[]')
        on conflict (one) do update set term = excluded.term, owner = '', lease_until = 0,
            started_at = excluded.started_at, ended_at = null, total = excluded.total, done = 0, refused = 0,
            refused_rows = '[]'");
    TAKE = "update reseal set owner = $1, lease_until = $2 where one = 1 and ended_at is null";
    STEP = "update reseal set done = done + $2, lease_until = $3
        where one = 1 and owner = $1 and term = $4 and ended_at is null";
    END = "update reseal set ended_at = $2, refused = $3, refused_rows = $4, lease_until = 0
        where one = 1 and owner = $1 and ended_at is null";
}

impl Conn {
    /// The newest one; `None` if there never was one.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn reseal(&mut self) -> Result<Option<Reseal>> {
        let Some(row) = maybe!(self, RESEAL => ResealRow)? else { return Ok(None) };
        let left = match row.lease_until {
            0 => Duration::ZERO,
            until => self.database_now().await?.until(Time::from_millis(until)),
        };
        let at = Cells::of("reseal", b"1");
        Ok(Some(Reseal {
            term: at.number("term", row.term)?,
            owner: row.owner,
            left,
            started_at: Time::from_millis(row.started_at),
            ended_at: time(row.ended_at),
            total: row.total,
            done: row.done,
            refused: row.refused,
            refused_rows: at.json("refused_rows", &row.refused_rows)?,
        }))
    }
}

impl Tx {
    /// Starts one in place of the last.
    ///
    /// # Errors
    /// As every write.
    pub async fn begin_reseal(&mut self, term: u32, now: Time, total: i64) -> Result<()> {
        run!(self, BEGIN; i64::from(term); now.millis(); total).map(drop)
    }

    /// Gives the one that is under way to `owner` for a while: the caller has seen in this transaction that nobody has it.
    ///
    /// # Errors
    /// As every write.
    pub async fn take_reseal(&mut self, owner: &str, length: Duration) -> Result<bool> {
        let until = self.database_now().await?.after(length);
        Ok(run!(self, TAKE; owner; until.millis())? == 1)
    }

    /// Counts what was moved and renews the lease. False if somebody else has it by now: then undo the step.
    ///
    /// # Errors
    /// As every write.
    pub async fn step_reseal(
        &mut self,
        (owner, term): (&str, u32),
        moved: u64,
        length: Duration,
    ) -> Result<bool> {
        let until = self.database_now().await?.after(length);
        let moved = i64::try_from(moved).unwrap_or(i64::MAX);
        Ok(run!(self, STEP; owner; moved; until.millis(); i64::from(term))? == 1)
    }

    /// It has gone through everything.
    ///
    /// # Errors
    /// As every write.
    pub async fn end_reseal(
        &mut self,
        owner: &str,
        now: Time,
        (refused, rows): (i64, &[(String, String, String)]),
    ) -> Result<bool> {
        let rows = serde_json::Value::from_iter(
            rows.iter().map(|(table, column, id)| serde_json::json!([table, column, id])),
        );
        Ok(run!(self, END; owner; now.millis(); refused; rows.to_string())? == 1)
    }
}
