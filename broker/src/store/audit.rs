//! The audit: what was handed out, changed and refused, numbered without gaps and chained.
//!
//! Never changes a record, and removes none: retention does (`chains.rs`). Changes, by whichever broker, are the one chain without a name, since writers take
//! turns anyway; what a broker hands out is a chain of its own, named after it, so that brokers need not wait for each other.
//! Invariants: a record is in the same transaction as what it tells of, and so is where its chain ends; a chain ends where
//! its writer thinks it does, or nothing is written; so a gap or a broken hash means a hand in the database.
//! Next: `group.rs` appends what is handed out, `grpc/audit` lists, `chains.rs` goes along the chains.

use super::engine::{Conn, Tx, all, maybe, on, run, statements};
use super::error::{Error, Result};
use super::many::Many;
use super::page::{Page, PageRequest};
use super::pending::Head;
use super::row::{Cells, row};
use crate::clock::Time;
use crate::domain::chain::{Columns, Entry};
use crate::domain::event::{Event, Record, What};
use crate::domain::ids::ProjectId;

row!(AuditRow, audit_columns {
    chain: String, sequence: i64, at: i64, what: String, project: String, actor: String, account: String, subject: String,
    granted: i64, reason: i64, address: String, detail: String, hash: Vec<u8>,
});

/// What a filter asks of a record; empty texts, and -1, ask for nothing.
macro_rules! wanted {
    () => {
        " and at >= $5 and ($6 = '' or what = $6) and ($7 = '' or substr(what, 1, length($7)) = $7)
        and ($8 = '' or actor = $8) and ($9 = '' or subject = $9)
        and (cast($10 as bigint) < 0 or granted = $10) and (cast($11 as bigint) < 0 or reason = $11)"
    };
}

statements! {
    HEAD = "select sequence, hash from audit_head where one = 1";
    SEAL_HEAD = "update audit_head set sequence = $1, hash = $2 where one = 1";
    HEAD_OF = "select sequence, hash from audit_chains where chain = $1";
    BEGIN_CHAIN = "insert into audit_chains (chain, sequence, hash) values ($1, $2, $3)";
    MOVE_HEAD = "update audit_chains set sequence = $2, hash = $3 where chain = $1 and sequence = $4";
    HEADS = "select '' as chain, sequence, hash from audit_head where one = 1
        union all select chain, sequence, hash from audit_chains order by 1";
    APPEND = concat!("insert into audit (", audit_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");
    NEWEST = concat!("select ", audit_columns!(), " from audit where project = $1
        and (at, chain, sequence) < ($2, $3, $4)", wanted!(), " order by at desc, chain desc, sequence desc limit $12");
    NEWEST_ABOUT = concat!("select ", audit_columns!(), " from audit where project = $1
        and (at, chain, sequence) < ($2, $3, $4)", wanted!(), " and account = $13
        order by at desc, chain desc, sequence desc limit $12");
}

/// The next records of a chain, [`STRIDE`](super::chains::STRIDE) of them.
pub(super) const FOLLOWING: &str = concat!(
    "select ",
    audit_columns!(),
    " from audit where chain = $1 and sequence > $2 order by sequence limit 1000"
);

/// Many records at once.
static APPEND_MANY: Many =
    Many::new(concat!("insert into audit (", audit_columns!(), ") values"), 13);

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// Its name; empty for the chain of changes.
    pub chain: String,
    /// The number of its newest record.
    pub sequence: i64,
    /// The hash of that.
    pub hash: Vec<u8>,
}

/// Which records are wanted; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this account's id for people.
    pub account: Option<String>,
    /// Of this kind, or of all kinds that begin so.
    pub what: Option<EventFilter>,
    /// By this actor.
    pub actor: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
    /// Granted, or refused.
    pub granted: Option<bool>,
    /// Refused for this.
    pub reason: Option<i32>,
    /// Not before.
    pub from: Option<Time>,
    /// Before.
    pub until: Option<Time>,
}

/// One kind of event or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// This one.
    Is(What),
    /// Those that begin so.
    Begins(String),
}

impl Conn {
    /// Records of a project, newest first; only those that the filter wants.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a row cannot be understood; else as every read.
    pub async fn audit(
        &mut self,
        project: &ProjectId,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<Record>> {
        let (project, limit) = (project.as_str(), page.limit());
        let until = filter.until.map_or(i64::MAX, Time::millis);
        let (at, chain, sequence) = place(page.after(), until);
        let from = filter.from.map_or(i64::MIN, Time::millis);
        let (is, begins) = match &filter.what {
            None => ("", ""),
            Some(EventFilter::Is(what)) => (what.as_str(), ""),
            Some(EventFilter::Begins(text)) => ("", text.as_str()),
        };
        let actor = filter.actor.as_deref().unwrap_or_default();
        let subject = filter.subject.as_deref().unwrap_or_default();
        let granted = filter.granted.map_or(-1, i64::from);
        let reason = filter.reason.map_or(-1, i64::from);
        let rows = match filter.account.as_deref() {
            None => {
                all!(self, NEWEST => AuditRow; project; at; chain; sequence; from; is; begins; actor;
                subject; granted; reason; limit)?
            }
            Some(account) => {
                all!(self, NEWEST_ABOUT => AuditRow; project; at; chain; sequence; from; is; begins;
                actor; subject; granted; reason; limit; account)?
            }
        };
        let records = rows.into_iter().map(AuditRow::read).collect::<Result<Vec<_>>>()?;
        let place = |it: &Record| format!("{}/{}/{}", it.event.at.millis(), it.sequence, it.chain);
        Ok(page.page(records, place))
    }

    /// The 1000 records of a chain after `sequence`, of all projects, oldest first: for checking it.
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub async fn audit_after(&mut self, chain: &str, sequence: i64) -> Result<Vec<Record>> {
        let rows = all!(self, FOLLOWING => AuditRow; chain; sequence)?;
        rows.into_iter().map(AuditRow::read).collect()
    }

    /// Number and hash of the newest record of a chain; 0 and nothing before the first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if that of the changes is missing; else as every read.
    pub async fn audit_head(&mut self, chain: &str) -> Result<(i64, Vec<u8>)> {
        if chain.is_empty() {
            return maybe!(self, HEAD => (i64, Vec<u8>))?.ok_or_else(headless);
        }
        Ok(maybe!(self, HEAD_OF => (i64, Vec<u8>); chain)?.unwrap_or_default())
    }

    /// Where every chain ends, by name; that of the changes first.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_chains(&mut self) -> Result<Vec<ChainEnd>> {
        let rows = all!(self, HEADS => (String, i64, Vec<u8>))?;
        let end = |(chain, sequence, hash)| ChainEnd { chain, sequence, hash };
        Ok(rows.into_iter().map(end).collect())
    }
}

impl Tx {
    /// Appends a record of `event` to the chain of changes; the writer numbers and chains it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the head of the chain is missing; else as every write.
    pub async fn append_audit(&mut self, event: Event) -> Result<Record> {
        let (newest, previous) = match self.pending.head() {
            Some(head) => (head.sequence, head.hash.clone()),
            None => self.audit_head("").await?,
        };
        let sequence = newest + 1;
        let hash = link("", &previous, sequence, &event);
        run!(self, APPEND; ""; sequence; event.at.millis(); event.what.as_str(); event.project.as_str();
            event.actor.as_str(); event.account.as_str(); event.subject.as_str(); i64::from(event.granted);
            i64::from(event.reason); event.address.as_str(); event.detail.as_str(); hash.as_slice())?;
        self.pending.move_head(Head { sequence, hash: hash.clone() });
        Ok(Record { chain: String::new(), sequence, event, hash })
    }

    /// Writes down where the chain of changes ends now; the last thing before the commit.
    pub(super) async fn seal_audit(&mut self) -> Result<()> {
        let Some(Head { sequence, hash }) = self.pending.head().cloned() else { return Ok(()) };
        match run!(self, SEAL_HEAD; sequence; hash.as_slice())? {
            1 => Ok(()),
            _ => Err(headless()),
        }
    }

    /// Appends records of `events` to a chain that ends at `head`, and says where it ends then.
    ///
    /// # Errors
    /// [`Error::Stale`] or [`Error::Conflict`] if it ends somewhere else: look again, and nothing of this is kept.
    pub(super) async fn extend_chain(
        &mut self,
        chain: &str,
        head: &Head,
        events: &[&Event],
    ) -> Result<Head> {
        let records = chained(chain, head, events);
        let end = records.last().map_or_else(|| head.clone(), |last| last.end.clone());
        let moved = match head.sequence {
            0 => run!(self, BEGIN_CHAIN; chain; end.sequence; end.hash.as_slice())?,
            from => run!(self, MOVE_HEAD; chain; end.sequence; end.hash.as_slice(); from)?,
        };
        if moved != 1 {
            return Err(Error::Stale { what: "audit_chains" });
        }
        for (text, rows) in APPEND_MANY.chunks(self, &records) {
            on!(self, wire => {
                let mut query = sqlx::query(text);
                for Chained { event, end: Head { sequence, hash } } in rows {
                    query = query.bind(chain).bind(*sequence).bind(event.at.millis())
                        .bind(event.what.as_str()).bind(event.project.as_str())
                        .bind(event.actor.as_str()).bind(event.account.as_str())
                        .bind(event.subject.as_str()).bind(i64::from(event.granted))
                        .bind(i64::from(event.reason)).bind(event.address.as_str())
                        .bind(event.detail.as_str()).bind(hash.as_slice());
                }
                query.execute(wire).await.map(drop)
            })?;
        }
        Ok(end)
    }
}

/// What is to be recorded, and where its chain ends with it.
pub(super) struct Chained<'e> {
    pub(super) event: &'e Event,
    pub(super) end: Head,
}

/// Numbers and chains events after `head`.
pub(super) fn chained<'e>(chain: &str, head: &Head, events: &[&'e Event]) -> Vec<Chained<'e>> {
    let mut records: Vec<Chained<'e>> = Vec::with_capacity(events.len());
    for event in events {
        let before = records.last().map_or(head, |last| &last.end);
        let sequence = before.sequence + 1;
        let hash = link(chain, &before.hash, sequence, event);
        records.push(Chained { event, end: Head { sequence, hash } });
    }
    records
}

/// Where a page of records begins, from its token: before this time, chain and number. The first begins at `until`.
fn place(token: &str, until: i64) -> (i64, &str, i64) {
    let parts = token.split_once('/').and_then(|(at, rest)| Some((at, rest.split_once('/')?)));
    let numbers = parts.and_then(|(at, (sequence, chain))| {
        Some((at.parse().ok()?, chain, sequence.parse().ok()?))
    });
    numbers.unwrap_or((until, "", 0))
}

/// The first record of `records` that does not follow from the one before it; `previous` is what stands before them all.
///
/// `(0, &[])` stands before the very first record of a chain. They have to be of one chain.
pub fn first_break(previous: (i64, &[u8]), records: &[Record]) -> Option<i64> {
    let (mut sequence, mut hash) = previous;
    let name = records.first().map_or("", |first| first.chain.as_str());
    for record in records {
        sequence += 1;
        let fits = record.chain == name && record.sequence == sequence;
        if !fits || record.hash != link(name, hash, sequence, &record.event) {
            return Some(sequence);
        }
        hash = &record.hash;
    }
    None
}

/// The hash of a record that is about to be written.
fn link(chain: &str, previous: &[u8], sequence: i64, event: &Event) -> Vec<u8> {
    let columns = Columns {
        chain,
        sequence,
        at: event.at.millis(),
        what: event.what.as_str(),
        project: &event.project,
        actor: &event.actor,
        account: &event.account,
        subject: &event.subject,
        granted: i64::from(event.granted),
        reason: i64::from(event.reason),
        address: &event.address,
        detail: &event.detail,
    };
    columns.link(previous)
}

/// Without its head the chain cannot go on, and without a record nothing is handed out.
fn headless() -> Error {
    Error::Corrupt { table: "audit_head", column: "sequence", id: "1".into() }
}

/// The texts that are made, for the test that prepares them.
#[cfg(test)]
pub(super) fn made(conn: &Conn) -> impl Iterator<Item = &'static str> + use<> {
    APPEND_MANY.all(conn).chain([FOLLOWING])
}

impl AuditRow {
    /// As it is stored.
    pub(super) fn entry(self) -> Entry {
        Entry {
            chain: self.chain,
            sequence: self.sequence,
            at: self.at,
            what: self.what,
            project: self.project,
            actor: self.actor,
            account: self.account,
            subject: self.subject,
            granted: self.granted,
            reason: self.reason,
            address: self.address,
            detail: self.detail,
            hash: self.hash,
        }
    }

    fn read(self) -> Result<Record> {
        let number = self.sequence.to_string();
        let at = Cells::of("audit", number.as_bytes());
        let event = Event {
            at: Time::from_millis(self.at),
            what: at.text("what", &self.what, What::parse)?,
            project: self.project,
            actor: self.actor,
            account: self.account,
            subject: self.subject,
            granted: self.granted == 1,
            reason: at.number("reason", self.reason)?,
            address: self.address,
            detail: self.detail,
        };
        Ok(Record { chain: self.chain, sequence: self.sequence, event, hash: self.hash })
    }
}
