//! A group of decisions recorded in one stroke: the transaction, the look at the rights epoch, the head of the chain and all
//! records go to the database as one statement.
//!
//! Each word with a database costs two switches between threads or processes, and a group that says eight of them waits
//! longer for the processor than for the disk. Never judges: whoever calls has judged by an epoch, and says by which.
//! Invariant: either all of it is written, with the epoch and the chain in that transaction as they were said to be, or
//! nothing. The texts differ between the engines, as those of `many.rs` do: SQLite runs several statements as one, PostgreSQL
//! writes in a subquery and takes columns as arrays. Next: `lane.rs`, which takes the long way when this cannot.

use std::fmt::Write;
use std::sync::OnceLock;

use super::audit::Chained;
use super::engine::{Conn, Wire};
use super::error::{Error, Result};
use super::pending::Head;

/// So many rows a text is made for; what is left is filled with rows that are left out. A connection prepares each once.
const SIZES: [usize; 18] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// The texts for SQLite, by size.
static TEXTS: [OnceLock<String>; SIZES.len()] = [const { OnceLock::new() }; SIZES.len()];

/// `changes()` is how many rows the last write touched: in the insert that is the update, so without the head nothing is
/// inserted; at the end it is the insert. The driver's own count of such a text takes in what was before it.
const SQLITE: &str = "begin immediate;
    update audit_chains set sequence = ?, hash = ? where chain = ? and sequence = ?
        and (select epoch from rights_epoch where one = 1) = ?;
    insert into audit (chain, sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash)
        select ?, rows.* from (values ";
const SQLITE_END: &str = ") as rows where changes() = 1 and rows.column1 is not null;
    commit;
    select changes()";
/// Columns of a row there.
const COLUMNS: usize = 12;

const POSTGRES: &str = "with moved as (update audit_chains set sequence = $1, hash = $2
        where chain = $3 and sequence = $4 and (select epoch from rights_epoch where one = 1) = $5 returning chain)
    insert into audit (chain, sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash)
        select moved.chain, rows.* from moved, unnest($6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::bytea[]) as rows";

impl Conn {
    /// Records what was judged by `epoch`, at the end of a chain that ends at `from`, and commits. Says whether that was so;
    /// if not, nothing is written. After an error the connection may be in the middle of a transaction.
    ///
    /// # Errors
    /// As every write; [`Error::Corrupt`] if the database counts wrongly.
    pub(super) async fn record_in_one_stroke(
        &mut self,
        (chain, from, epoch): (&str, &Head, i64),
        records: &[Chained<'_>],
    ) -> Result<bool> {
        let Some(end) = records.last().map(|record| &record.end) else { return Ok(true) };
        let head = (chain, from, end, epoch);
        let written = match &mut self.0 {
            Wire::Sqlite(_) => self.on_sqlite(head, records).await?,
            Wire::Postgres(_) => self.on_postgres(head, records).await?,
        };
        match written {
            0 => Ok(false),
            some if some == records.len() as u64 => Ok(true),
            _ => Err(Error::Corrupt { table: "audit", column: "sequence", id: chain.to_owned() }),
        }
    }

    async fn on_sqlite(
        &mut self,
        (chain, from, end, epoch): (&str, &Head, &Head, i64),
        records: &[Chained<'_>],
    ) -> Result<u64> {
        let Wire::Sqlite(wire) = &mut self.0 else { return Ok(0) };
        let mut query = sqlx::query_as::<_, (i64,)>(text(records.len()))
            .bind(end.sequence)
            .bind(end.hash.as_slice())
            .bind(chain)
            .bind(from.sequence)
            .bind(epoch)
            .bind(chain);
        for Chained { event, end } in records {
            query = query
                .bind(end.sequence)
                .bind(event.at.millis())
                .bind(event.what.as_str())
                .bind(event.project.as_str())
                .bind(event.actor.as_str())
                .bind(event.account.as_str())
                .bind(event.subject.as_str())
                .bind(i64::from(event.granted))
                .bind(i64::from(event.reason))
                .bind(event.address.as_str())
                .bind(event.detail.as_str())
                .bind(end.hash.as_slice());
        }
        let (written,) = query.fetch_one(&mut **wire).await?;
        Ok(written.unsigned_abs())
    }

    async fn on_postgres(
        &mut self,
        (chain, from, end, epoch): (&str, &Head, &Head, i64),
        records: &[Chained<'_>],
    ) -> Result<u64> {
        let Wire::Postgres(wire) = &mut self.0 else { return Ok(0) };
        let numbers =
            |of: fn(&Chained<'_>) -> i64| -> Vec<i64> { records.iter().map(of).collect() };
        let query = sqlx::query(POSTGRES)
            .bind(end.sequence)
            .bind(end.hash.as_slice())
            .bind(chain)
            .bind(from.sequence)
            .bind(epoch)
            .bind(numbers(|it| it.end.sequence))
            .bind(numbers(|it| it.event.at.millis()))
            .bind(texts(records, |it| it.event.what.as_str()))
            .bind(texts(records, |it| &it.event.project))
            .bind(texts(records, |it| &it.event.actor))
            .bind(texts(records, |it| &it.event.account))
            .bind(texts(records, |it| &it.event.subject))
            .bind(numbers(|it| i64::from(it.event.granted)))
            .bind(numbers(|it| i64::from(it.event.reason)))
            .bind(texts(records, |it| &it.event.address))
            .bind(texts(records, |it| &it.event.detail))
            .bind(records.iter().map(|it| it.end.hash.as_slice()).collect::<Vec<_>>());
        Ok(query.execute(&mut **wire).await?.rows_affected())
    }
}

fn texts<'r>(records: &'r [Chained<'_>], of: fn(&'r Chained<'_>) -> &'r str) -> Vec<&'r str> {
    records.iter().map(of).collect()
}

/// The text for SQLite that takes so many rows or more.
fn text(rows: usize) -> &'static str {
    let at = SIZES.partition_point(|size| *size < rows).min(SIZES.len() - 1);
    TEXTS[at].get_or_init(|| {
        let mut text = SQLITE.to_owned();
        for row in 0..SIZES[at] {
            text.push_str(if row == 0 { "(" } else { "), (" });
            for column in 0..COLUMNS {
                // A String takes whatever is written to it.
                let _ = text.write_str(if column == 0 { "?" } else { ", ?" });
            }
        }
        text.push(')');
        text.push_str(SQLITE_END);
        text
    })
}

/// The most records of one stroke.
pub(super) const STROKE: usize = SIZES[SIZES.len() - 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_text_for_every_size_of_group() {
        for rows in 1..=STROKE {
            let room = (text(rows).matches('?').count() - 6) / COLUMNS;
            assert!(room >= rows && room <= rows.div_ceil(2) * 3, "{room} for {rows}");
        }
    }
}
