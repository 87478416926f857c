//! A group of decisions recorded in one stroke: the transaction, the look at the rights epoch, the head of the chain, the
//! sessions that are opened and all records go to the database as one statement.
//!
//! Each word with a database costs two switches between threads or processes, and a group that says eight of them waits
//! longer for the processor than for the disk. Never judges: whoever calls has judged by an epoch, and says by which.
//! Invariant: either all of it is written, with the epoch and the chain in that transaction as they were said to be, or
//! nothing. The texts differ between the engines, as those of `many.rs` do: SQLite runs several statements as one, PostgreSQL
//! writes in a subquery and takes columns as arrays. Next: `group.rs`, which takes the long way when this cannot.

use std::sync::{Arc, OnceLock};

use sqlx::{PgConnection, SqliteConnection};

use super::audit::Chained;
use super::engine::{Conn, Wire};
use super::error::{Error, Result};
use super::pending::Head;
use crate::domain::session::MailSession;

/// So many rows a text is made for; what is left is filled with rows that are left out. A connection prepares each once.
const SIZES: [usize; 18] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// The texts for SQLite, by size: without sessions and with as many as there are records.
static TEXTS: [[OnceLock<String>; SIZES.len()]; 2] =
    [const { [const { OnceLock::new() }; SIZES.len()] }; 2];

/// `changes()` is how many rows the last write touched: in an insert that is the write before it, so without the head nothing
/// is inserted; at the end it is the insert. The driver's own count of such a text takes in what was before it.
const SQLITE: &str = "begin immediate;
    update audit_chains set sequence = ?, hash = ? where chain = ? and sequence = ?
        and (select epoch from rights_epoch where one = 1) = ?;";
const SQLITE_SESSIONS: &str = "
    insert into mail_sessions (id, adapter, credential, account, protocol, client_address, opened_at, renewals, upstream,
            bytes_up, bytes_down)
        select opened.*, 0, '', 0, 0 from (values ";
const SQLITE_AFTER_SESSIONS: &str =
    ") as opened where changes() > 0 and opened.column1 is not null;";
const SQLITE_RECORDS: &str = "
    insert into audit (chain, sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash)
        select ?, rows.* from (values ";
const SQLITE_END: &str = ") as rows where changes() > 0 and rows.column1 is not null;
    commit;
    select changes()";
/// Columns of a record there.
const COLUMNS: usize = 12;
/// Columns of a session that is opened.
const OPENED: usize = 7;

/// The texts for PostgreSQL: with the head moved comes `$1`, the sessions, and the records.
macro_rules! postgres {
    ($sessions:literal) => {
        concat!(
            "with moved as (update audit_chains set sequence = $1, hash = $2
        where chain = $3 and sequence = $4 and (select epoch from rights_epoch where one = 1) = $5 returning chain)",
            $sessions,
            "
    insert into audit (chain, sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash)
        select moved.chain, rows.* from moved, unnest($6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::bytea[]) as rows"
        )
    };
}
const POSTGRES: &str = postgres!("");
const POSTGRES_SESSIONS: &str = postgres!(
    ", opened as (insert into mail_sessions (id, adapter, credential, account, protocol, client_address, opened_at, renewals,
            upstream, bytes_up, bytes_down)
        select rows.*, 0, '', 0, 0 from moved, unnest($18::bytea[], $19::bytea[], $20::bytea[], $21::bytea[], $22::text[],
            $23::text[], $24::bigint[]) as rows)"
);

/// Where a stroke goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    /// The chain.
    pub(super) chain: &'p str,
    /// Where it ends before.
    pub(super) from: &'p Head,
    /// What all was judged by.
    pub(super) epoch: i64,
}

impl Conn {
    /// Records what was judged by the epoch of `place`, opens new `sessions`, no more than there are records, and commits.
    /// Says whether the epoch and the chain were so; if not, nothing is written. After an error the connection may be in the
    /// middle of a transaction.
    ///
    /// # Errors
    /// As every write; [`Error::Corrupt`] if the database counts wrongly.
    pub(super) async fn record_in_one_stroke(
        &mut self,
        place: Place<'_>,
        records: &[Chained<'_>],
        sessions: &[&MailSession],
    ) -> Result<bool> {
        let Some(end) = records.last().map(|record| &record.end) else { return Ok(true) };
        let written = match &mut self.0 {
            Wire::Sqlite(wire) => on_sqlite(wire, (place, end), records, sessions).await?,
            Wire::Postgres(wire) => on_postgres(wire, (place, end), records, sessions).await?,
        };
        match written {
            0 => Ok(false),
            some if some == records.len() as u64 => Ok(true),
            _ => {
                let id = place.chain.to_owned();
                Err(Error::Corrupt { table: "audit", column: "sequence", id })
            }
        }
    }
}

async fn on_sqlite(
    wire: &mut SqliteConnection,
    (place, end): (Place<'_>, &Head),
    records: &[Chained<'_>],
    sessions: &[&MailSession],
) -> Result<u64> {
    let (text, rows) = text(records.len(), !sessions.is_empty());
    let mut query = sqlx::query_as::<_, (i64,)>(text)
        .bind(end.sequence)
        .bind(end.hash.as_slice())
        .bind(place.chain)
        .bind(place.from.sequence)
        .bind(place.epoch);
    for it in sessions {
        query = query
            .bind(it.id.bytes().to_vec())
            .bind(it.adapter.bytes().to_vec())
            .bind(it.credential.bytes().to_vec())
            .bind(it.account.bytes().to_vec())
            .bind(it.protocol.as_str())
            .bind(it.client_address.as_str())
            .bind(it.opened_at.millis());
    }
    let left_out = if sessions.is_empty() { 0 } else { rows.saturating_sub(sessions.len()) };
    for _ in 0..left_out * OPENED {
        query = query.bind(None::<i64>);
    }
    query = query.bind(place.chain);
    let mut texts: [Again; 7] = Default::default();
    for Chained { event, end } in records {
        let [what, project, actor, account, subject, address, detail] = &mut texts;
        query = query
            .bind(end.sequence)
            .bind(event.at.millis())
            .bind(what.text(event.what.as_str()))
            .bind(project.text(&event.project))
            .bind(actor.text(&event.actor))
            .bind(account.text(&event.account))
            .bind(subject.text(&event.subject))
            .bind(i64::from(event.granted))
            .bind(i64::from(event.reason))
            .bind(address.text(&event.address))
            .bind(detail.text(&event.detail))
            .bind(end.hash.as_slice());
    }
    let (written,) = query.fetch_one(wire).await?;
    Ok(written.unsigned_abs())
}

/// A column in which the same text comes again and again: it is made once.
#[derive(Default)]
struct Again(Option<Arc<str>>);

impl Again {
    fn text(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => Arc::clone(last),
            _ => Arc::clone(self.0.insert(text.into())),
        }
    }
}

async fn on_postgres(
    wire: &mut PgConnection,
    (place, end): (Place<'_>, &Head),
    records: &[Chained<'_>],
    sessions: &[&MailSession],
) -> Result<u64> {
    let numbers = |of: fn(&Chained<'_>) -> i64| -> Vec<i64> { records.iter().map(of).collect() };
    let mut query = sqlx::query(if sessions.is_empty() { POSTGRES } else { POSTGRES_SESSIONS })
        .bind(end.sequence)
        .bind(end.hash.as_slice())
        .bind(place.chain)
        .bind(place.from.sequence)
        .bind(place.epoch)
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
    if !sessions.is_empty() {
        let ids = |of: fn(&MailSession) -> [u8; 16]| -> Vec<Vec<u8>> {
            sessions.iter().map(|it| of(it).to_vec()).collect()
        };
        query = query
            .bind(ids(|it| it.id.bytes()))
            .bind(ids(|it| it.adapter.bytes()))
            .bind(ids(|it| it.credential.bytes()))
            .bind(ids(|it| it.account.bytes()))
            .bind(sessions.iter().map(|it| it.protocol.as_str()).collect::<Vec<_>>())
            .bind(sessions.iter().map(|it| it.client_address.as_str()).collect::<Vec<_>>())
            .bind(sessions.iter().map(|it| it.opened_at.millis()).collect::<Vec<_>>());
    }
    Ok(query.execute(wire).await?.rows_affected())
}

fn texts<'r>(records: &'r [Chained<'_>], of: fn(&'r Chained<'_>) -> &'r str) -> Vec<&'r str> {
    records.iter().map(of).collect()
}

/// The text for SQLite that takes so many rows or more, and how many.
fn text(rows: usize, with_sessions: bool) -> (&'static str, usize) {
    let at = SIZES.partition_point(|size| *size < rows).min(SIZES.len() - 1);
    let text = TEXTS[usize::from(with_sessions)][at].get_or_init(|| {
        let mut text = SQLITE.to_owned();
        if with_sessions {
            text.push_str(SQLITE_SESSIONS);
            push_rows(&mut text, SIZES[at], OPENED);
            text.push_str(SQLITE_AFTER_SESSIONS);
        }
        text.push_str(SQLITE_RECORDS);
        push_rows(&mut text, SIZES[at], COLUMNS);
        text.push_str(SQLITE_END);
        text
    });
    (text, SIZES[at])
}

/// Rows of placeholders.
fn push_rows(text: &mut String, rows: usize, columns: usize) {
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            text.push_str(if column == 0 { "?" } else { ", ?" });
        }
        text.push(')');
    }
}

/// The most records of one stroke.
pub(super) const STROKE: usize = SIZES[SIZES.len() - 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_text_for_every_size_of_group() {
        for (with_sessions, columns) in [(false, COLUMNS), (true, COLUMNS + OPENED)] {
            for rows in 1..=STROKE {
                let (text, room) = text(rows, with_sessions);
                assert_eq!(text.matches('?').count(), room * columns + 6);
                assert!(room >= rows && room <= rows.div_ceil(2) * 3, "{room} for {rows}");
            }
        }
    }
}
