//! The audit's chains from end to end: where each begins and ends, its records as they are stored, and what retention removes.
//!
//! Never removes a record that was not found whole, and never one behind it. Invariants: what is removed, the floor that
//! stands for it and the record that tells of it are one transaction; that record covers all floors there are, so that none
//! can be moved without a record. Next: `domain/chain.rs` judges, `service/verify_audit.rs` and `service/prune_audit.rs` walk.

use super::audit::AuditRow;
use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use crate::clock::Time;
use crate::domain::chain::{Entry, Fault, Point, Span, Walk, digest_of_floors};
use crate::domain::checkpoint::hex;
use crate::domain::event::{Event, What};
use crate::domain::ids::ProjectId;

/// Records that are fetched, or removed, at once.
pub const STRIDE: usize = 1000;

statements! {
    NEXT_CHAIN = "select min(chain) from audit where chain > $1";
    FLOORS = "select chain, sequence, hash from audit_floors order by chain";
    FLOOR = "select sequence, hash from audit_floors where chain = $1";
    LAST = "select sequence, hash from audit where chain = $1 order by sequence desc limit 1";
    LAST_PRUNING = "select sequence, detail from audit where chain = '' and what = $1 order by sequence desc limit 1";
    FORGET = "delete from audit where chain = $1 and sequence <= $2";
    SET_FLOOR = "insert into audit_floors (chain, sequence, hash) values ($1, $2, $3)
        on conflict (chain) do update set sequence = excluded.sequence, hash = excluded.hash";
}

/// What came of removing old records of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// There was nothing old enough.
    Nothing,
    /// So many are gone; there may be more.
    Removed(usize),
    /// The chain is broken: nothing is removed before a person has looked at it.
    Broken(Fault),
}

impl Conn {
    /// Every chain with its ends, that of changes first: those that have a head, records or a floor.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_spans(&mut self) -> Result<Vec<Span>> {
        let mut spans: std::collections::BTreeMap<String, Span> = std::collections::BTreeMap::new();
        let bare = |chain: &str| Span { chain: chain.into(), floor: Point::default(), head: None };
        spans.insert(String::new(), bare(""));
        let mut last = String::new();
        while let Some((Some(next),)) =
            maybe!(self, NEXT_CHAIN => (Option<String>,); last.as_str())?
        {
            spans.insert(next.clone(), bare(&next));
            last = next;
        }
        for end in self.audit_chains().await? {
            let span = spans.entry(end.chain.clone()).or_insert_with(|| bare(&end.chain));
            span.head = Some(Point { sequence: end.sequence, hash: end.hash });
        }
        for (chain, floor) in self.audit_floors().await? {
            spans.entry(chain.clone()).or_insert_with(|| bare(&chain)).floor = floor;
        }
        Ok(spans.into_values().collect())
    }

    /// The records of a chain after `sequence` as they are stored, oldest first: [`STRIDE`] of them at most.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_entries(&mut self, chain: &str, sequence: i64) -> Result<Vec<Entry>> {
        let rows = all!(self, super::audit::FOLLOWING => AuditRow; chain; sequence)?;
        Ok(rows.into_iter().map(AuditRow::entry).collect())
    }

    /// The record of a chain with the highest number.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_last(&mut self, chain: &str) -> Result<Point> {
        let last = maybe!(self, LAST => (i64, Vec<u8>); chain)?.unwrap_or_default();
        Ok(Point { sequence: last.0, hash: last.1 })
    }

    /// Where a chain begins.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_floor(&mut self, chain: &str) -> Result<Point> {
        let (sequence, hash) = maybe!(self, FLOOR => (i64, Vec<u8>); chain)?.unwrap_or_default();
        Ok(Point { sequence, hash })
    }

    /// Whether the newest record of pruning says the floors that there are; else what is wrong with them.
    ///
    /// # Errors
    /// As every read.
    pub async fn floors_told(&mut self) -> Result<std::result::Result<(), String>> {
        let floors = self.audit_floors().await?;
        let what = What::AuditPruned.as_str();
        let told = maybe!(self, LAST_PRUNING => (i64, String); what)?;
        let digest = hex(&digest_of_floors(floors.iter().map(|(chain, at)| (chain.as_str(), at))));
        Ok(match told {
            None if floors.is_empty() => Ok(()),
            None => Err("records were removed, and no record tells of it".to_owned()),
            Some((_, detail)) if detail.rsplit(' ').next() == Some(digest.as_str()) => Ok(()),
            Some((sequence, _)) => {
                Err(format!("chains do not begin where record {sequence} of the changes says"))
            }
        })
    }

    async fn audit_floors(&mut self) -> Result<Vec<(String, Point)>> {
        let rows = all!(self, FLOORS => (String, i64, Vec<u8>))?;
        Ok(rows
            .into_iter()
            .map(|(chain, sequence, hash)| (chain, Point { sequence, hash }))
            .collect())
    }
}

impl Tx {
    /// Removes the oldest records of a chain up to the first that is not older than `before`, [`STRIDE`] at most, and tells
    /// of it. `now` is the time of that record.
    ///
    /// # Errors
    /// As every write.
    pub async fn prune_audit(&mut self, chain: &str, before: Time, now: Time) -> Result<Pruned> {
        let mut walk = Walk::from(chain, self.audit_floor(chain).await?);
        let page = self.audit_entries(chain, walk.last().sequence).await?;
        let old = page.iter().take_while(|entry| entry.at < before.millis()).count();
        if old == 0 {
            return Ok(Pruned::Nothing);
        }
        if let Some(fault) = walk.take(&page[..old]) {
            return Ok(Pruned::Broken(fault));
        }
        let Point { sequence, hash } = walk.last().clone();
        run!(self, FORGET; chain; sequence)?;
        run!(self, SET_FLOOR; chain; sequence; hash.as_slice())?;
        let floors = self.audit_floors().await?;
        let all = digest_of_floors(floors.iter().map(|(chain, at)| (chain.as_str(), at)));
        let event = Event {
            at: now,
            what: What::AuditPruned,
            project: ProjectId::default_project().to_string(),
            actor: "broker".to_owned(),
            account: String::new(),
            subject: format!("chains/{chain}"),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: format!("{sequence} {} {}", hex(&hash), hex(&all)),
        };
        self.append_audit(event).await?;
        Ok(Pruned::Removed(old))
    }
}
