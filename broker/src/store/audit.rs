//! The audit: what was handed out, changed and refused, numbered without gaps and chained.
//!
//! Never changes or removes a record. Invariant: a record is in the same transaction as what it tells of; its number and the
//! hash before it are read there too, and writers take turns, so a gap or a broken hash means a hand in the
//! database. Next: `grpc/audit` lists, an operator verifies.

use sha2::{Digest, Sha256};

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::{Error, Result};
use super::page::{Page, PageRequest};
use super::pending::Head;
use super::row::{Cells, row};
use crate::clock::Time;
use crate::domain::event::{Event, Record, What};
use crate::domain::guarded::Canonical;
use crate::domain::ids::ProjectId;

row!(AuditRow, audit_columns {
    sequence: i64, at: i64, what: String, project: String, actor: String, account: String, subject: String,
    granted: i64, reason: i64, address: String, detail: String, hash: Vec<u8>,
});

statements! {
    HEAD = "select sequence, hash from audit_head where one = 1";
    SEAL_HEAD = "update audit_head set sequence = $1, hash = $2 where one = 1";
    APPEND = concat!("insert into audit (", audit_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
    NEWEST = concat!("select ", audit_columns!(), " from audit where project = $1 and sequence < $2
        order by sequence desc limit $3");
    NEWEST_ABOUT = concat!("select ", audit_columns!(), " from audit where project = $1 and account = $2
        and sequence < $3 order by sequence desc limit $4");
    FOLLOWING = concat!("select ", audit_columns!(), " from audit where sequence > $1 order by sequence limit 1000");
}

impl Conn {
    /// Records of a project, newest first; only those about `account` (its id for people) if one is given.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a row cannot be understood; else as every read.
    pub async fn audit(
        &mut self,
        project: &ProjectId,
        account: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Record>> {
        let (project, limit) = (project.as_str(), page.limit());
        let before = page.after().parse().unwrap_or(i64::MAX);
        let rows = match account {
            None => all!(self, NEWEST => AuditRow; project; before; limit)?,
            Some(account) => all!(self, NEWEST_ABOUT => AuditRow; project; account; before; limit)?,
        };
        let records = rows.into_iter().map(AuditRow::read).collect::<Result<Vec<_>>>()?;
        Ok(page.page(records, |record| record.sequence.to_string()))
    }

    /// The 1000 records after `sequence`, of all projects, oldest first: for checking the chain.
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub async fn audit_after(&mut self, sequence: i64) -> Result<Vec<Record>> {
        all!(self, FOLLOWING => AuditRow; sequence)?.into_iter().map(AuditRow::read).collect()
    }

    /// Number and hash of the newest record; 0 and nothing before the first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is missing; else as every read.
    pub async fn audit_head(&mut self) -> Result<(i64, Vec<u8>)> {
        maybe!(self, HEAD => (i64, Vec<u8>))?.ok_or_else(headless)
    }
}

impl Tx {
    /// Appends a record of `event`; the writer numbers and chains it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the head of the chain is missing; else as every write.
    pub async fn append_audit(&mut self, event: Event) -> Result<Record> {
        let (newest, previous) = match self.pending.head() {
            Some(head) => (head.sequence, head.hash.clone()),
            None => self.audit_head().await?,
        };
        let sequence = newest + 1;
        let hash = chain(&previous, sequence, &event);
        run!(self, APPEND; sequence; event.at.millis(); event.what.as_str(); event.project.as_str();
            event.actor.as_str(); event.account.as_str(); event.subject.as_str(); i64::from(event.granted);
            i64::from(event.reason); event.address.as_str(); event.detail.as_str(); hash.as_slice())?;
        self.pending.move_head(Head { sequence, hash: hash.clone() });
        Ok(Record { sequence, event, hash })
    }

    /// Writes down where the chain ends now; the last thing before the commit.
    pub(super) async fn seal_audit(&mut self) -> Result<()> {
        let Some(Head { sequence, hash }) = self.pending.head().cloned() else { return Ok(()) };
        match run!(self, SEAL_HEAD; sequence; hash.as_slice())? {
            1 => Ok(()),
            _ => Err(headless()),
        }
    }
}

/// The first record of `records` that does not follow from the one before it; `previous` is what stands before them all.
///
/// `(0, &[])` stands before the very first record.
pub fn first_break(previous: (i64, &[u8]), records: &[Record]) -> Option<i64> {
    let (mut sequence, mut hash) = previous;
    for record in records {
        sequence += 1;
        if record.sequence != sequence || record.hash != chain(hash, sequence, &record.event) {
            return Some(sequence);
        }
        hash = &record.hash;
    }
    None
}

/// SHA-256 over the previous hash and every column of the record, each with its name, kind and length.
fn chain(previous: &[u8], sequence: i64, event: &Event) -> Vec<u8> {
    let record = Canonical::new("audit", [0; 16], sequence.unsigned_abs())
        .bytes("previous", previous)
        .number("at", event.at.millis())
        .text("what", event.what.as_str())
        .text("project", event.project.as_str())
        .text("actor", event.actor.as_str())
        .text("account", event.account.as_str())
        .text("subject", event.subject.as_str())
        .number("granted", i64::from(event.granted))
        .number("reason", i64::from(event.reason))
        .text("address", event.address.as_str())
        .text("detail", event.detail.as_str());
    Sha256::digest(record.as_bytes()).to_vec()
}

/// Without its head the chain cannot go on, and without a record nothing is handed out.
fn headless() -> Error {
    Error::Corrupt { table: "audit_head", column: "sequence", id: "1".into() }
}

impl AuditRow {
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
        Ok(Record { sequence: self.sequence, event, hash: self.hash })
    }
}
