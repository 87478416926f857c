//! The audit chain as arithmetic: the hash of a record, and what is wrong with a row of them.
//!
//! Never reads and never writes. Invariants: a hash covers the previous hash of the chain and every column, each with its
//! name, kind and length; records are looked at as they are stored, so that a column which nobody would have written is a
//! finding and not an error. Next: `store/audit.rs` appends, `store/chains.rs` fetches, `service/verify_audit.rs` walks.

use sha2::{Digest, Sha256};

use super::guarded::Canonical;

/// Every column of a record but its hash.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'r> {
    /// The chain; empty for that of changes.
    pub chain: &'r str,
    /// The number in the chain.
    pub sequence: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What happened.
    pub what: &'r str,
    /// In which project.
    pub project: &'r str,
    /// Who did it.
    pub actor: &'r str,
    /// The account it was about.
    pub account: &'r str,
    /// The other thing it was about.
    pub subject: &'r str,
    /// 1 if it was granted, 0 if not.
    pub granted: i64,
    /// Why not.
    pub reason: i64,
    /// The client's address.
    pub address: &'r str,
    /// What else there is to say.
    pub detail: &'r str,
}

/// A record as it is stored, unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The chain; empty for that of changes.
    pub chain: String,
    /// The number in the chain.
    pub sequence: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What happened.
    pub what: String,
    /// In which project.
    pub project: String,
    /// Who did it.
    pub actor: String,
    /// The account it was about.
    pub account: String,
    /// The other thing it was about.
    pub subject: String,
    /// 1 if it was granted, 0 if not.
    pub granted: i64,
    /// Why not.
    pub reason: i64,
    /// The client's address.
    pub address: String,
    /// What else there is to say.
    pub detail: String,
    /// The stored hash.
    pub hash: Vec<u8>,
}

/// A place in a chain: before the first record it is number 0 and no hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// The record's number.
    pub sequence: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// A chain and its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name; empty for that of changes.
    pub chain: String,
    /// The newest record that retention removed.
    pub floor: Point,
    /// The newest record; `None` if nothing says which that is.
    pub head: Option<Point>,
}

/// What can be wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The record does not have the content it was written with.
    Edited,
    /// The record is not there, and later ones are.
    Missing,
    /// The record stands in another one's place.
    Reordered,
    /// The chain ends before its head says.
    Truncated,
    /// The head is missing, or names another record than the last.
    Head,
    /// The chain begins where no record says that it does.
    Floor,
}

/// The first bad record of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number.
    pub sequence: i64,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// The same in words.
    pub detail: String,
}

/// Goes along a chain, page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    chain: String,
    last: Point,
    taken: i64,
}

impl Columns<'_> {
    /// SHA-256 over the previous hash and every column, each with its name, kind and length.
    pub fn link(&self, previous: &[u8]) -> Vec<u8> {
        let record = Canonical::new("audit", [0; 16], self.sequence.unsigned_abs());
        // The chain of changes is older than the names, and its records are hashed as they always were.
        let record = if self.chain.is_empty() { record } else { record.text("chain", self.chain) };
        let record = record
            .bytes("previous", previous)
            .number("at", self.at)
            .text("what", self.what)
            .text("project", self.project)
            .text("actor", self.actor)
            .text("account", self.account)
            .text("subject", self.subject)
            .number("granted", self.granted)
            .number("reason", self.reason)
            .text("address", self.address)
            .text("detail", self.detail);
        Sha256::digest(record.as_bytes()).to_vec()
    }
}

impl Entry {
    /// All but the hash.
    pub fn columns(&self) -> Columns<'_> {
        Columns {
            chain: &self.chain,
            sequence: self.sequence,
            at: self.at,
            what: &self.what,
            project: &self.project,
            actor: &self.actor,
            account: &self.account,
            subject: &self.subject,
            granted: self.granted,
            reason: self.reason,
            address: &self.address,
            detail: &self.detail,
        }
    }

    /// Where the chain stands with this record.
    pub fn point(&self) -> Point {
        Point { sequence: self.sequence, hash: self.hash.clone() }
    }
}

impl Walk {
    /// Begins after `floor`.
    pub fn from(chain: &str, floor: Point) -> Self {
        Self { chain: chain.to_owned(), last: floor, taken: 0 }
    }

    /// Goes on where another walk of the chain was, after `taken` records.
    pub fn resume(chain: &str, last: Point, taken: i64) -> Self {
        Self { chain: chain.to_owned(), last, taken }
    }

    /// The newest record that was found good.
    pub fn last(&self) -> &Point {
        &self.last
    }

    /// How many were.
    pub fn taken(&self) -> i64 {
        self.taken
    }

    /// Takes the next records in order; the first bad one, if there is one.
    pub fn take(&mut self, page: &[Entry]) -> Option<Fault> {
        for entry in page {
            let sequence = self.last.sequence + 1;
            if entry.sequence != sequence {
                let detail = format!("record {sequence} is missing; {} follows", entry.sequence);
                return Some(Fault { sequence, flaw: Flaw::Missing, detail });
            }
            let fits =
                entry.chain == self.chain && entry.hash == entry.columns().link(&self.last.hash);
            if !fits {
                return Some(self.blame(entry, page));
            }
            self.last = entry.point();
            self.taken += 1;
        }
        None
    }

    /// Compares the end of the walk with the chain's head.
    pub fn end(&self, head: Option<&Point>) -> Option<Fault> {
        let last = &self.last;
        let fault = |sequence, flaw, detail| Some(Fault { sequence, flaw, detail });
        match head {
            None if last.sequence == 0 => None,
            None => fault(last.sequence, Flaw::Head, "the chain has no head".to_owned()),
            Some(head) if head.sequence > last.sequence => {
                let (from, to) = (last.sequence + 1, head.sequence);
                fault(from, Flaw::Truncated, format!("records {from} to {to} are missing"))
            }
            Some(head) if head.sequence < last.sequence => {
                let told = format!("the head names record {}, and later ones exist", head.sequence);
                fault(head.sequence + 1, Flaw::Head, told)
            }
            Some(head) if head.hash != last.hash => {
                let told = format!("record {} is not the one that the head names", last.sequence);
                fault(last.sequence, Flaw::Head, told)
            }
            Some(_) => None,
        }
    }

    /// What is wrong with an entry that stands where it should and does not fit: if another one fits there, they were moved.
    fn blame(&self, entry: &Entry, page: &[Entry]) -> Fault {
        let sequence = entry.sequence;
        let belongs = |other: &&Entry| {
            let columns = Columns { sequence, chain: &self.chain, ..other.columns() };
            other.sequence != sequence && other.hash == columns.link(&self.last.hash)
        };
        match page.iter().find(belongs) {
            Some(other) => {
                let detail = format!("what belongs here stands at {}", other.sequence);
                Fault { sequence, flaw: Flaw::Reordered, detail }
            }
            None => {
                let detail = format!("record {sequence} does not follow from the one before it");
                Fault { sequence, flaw: Flaw::Edited, detail }
            }
        }
    }
}

/// What a record of pruning says of all floors together, so that a later one covers the earlier.
pub fn digest_of_floors<'f>(floors: impl Iterator<Item = (&'f str, &'f Point)>) -> Vec<u8> {
    let all = floors.fold(Canonical::new("audit_floors", [0; 16], 0), |all, (chain, floor)| {
        all.text("chain", chain).number("sequence", floor.sequence).bytes("hash", &*floor.hash)
    });
    Sha256::digest(all.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: i64) -> Vec<Entry> {
        let mut previous = Vec::new();
        let entry = |sequence| {
            let mut entry = Entry {
                chain: "one".into(),
                sequence,
                at: 1000 + sequence,
                what: "token".into(),
                project: "default".into(),
                actor: "a".into(),
                account: format!("ann{sequence}"),
                subject: String::new(),
                granted: 1,
                reason: 0,
                address: String::new(),
                detail: "mail".into(),
                hash: Vec::new(),
            };
            entry.hash = entry.columns().link(&previous);
            previous.clone_from(&entry.hash);
            entry
        };
        (1..=count).map(entry).collect()
    }

    fn fault(page: &[Entry]) -> Option<(i64, Flaw)> {
        Walk::from("one", Point::default()).take(page).map(|fault| (fault.sequence, fault.flaw))
    }

    #[test]
    fn a_whole_chain_has_no_fault_in_one_page_or_in_many() {
        let all = chain(9);
        assert_eq!(fault(&all), None);
        let mut walk = Walk::from("one", Point::default());
        assert!(all.chunks(2).all(|page| walk.take(page).is_none()));
        assert_eq!((walk.taken(), walk.last()), (9, &all[8].point()));
        assert_eq!(walk.end(Some(&all[8].point())), None);
        let mut later = Walk::from("one", all[3].point());
        assert_eq!(later.take(&all[4..]), None);
    }

    #[test]
    fn the_first_bad_record_is_named_and_how_it_is_bad() {
        let mut edited = chain(9);
        edited[4].account = "eve".into();
        assert_eq!(fault(&edited), Some((5, Flaw::Edited)));
        let mut cut = chain(9);
        cut.remove(4);
        assert_eq!(fault(&cut), Some((5, Flaw::Missing)));
        let mut swapped = chain(9);
        (swapped[4].sequence, swapped[6].sequence) = (7, 5);
        swapped.swap(4, 6);
        assert_eq!(fault(&swapped), Some((5, Flaw::Reordered)));
        let mut relinked = chain(9);
        relinked[4].account = "eve".into();
        relinked[4].hash = relinked[4].columns().link(&relinked[3].hash);
        assert_eq!(fault(&relinked), Some((6, Flaw::Edited)), "the one after it shows");
    }

    #[test]
    fn an_end_that_is_not_the_heads_is_told() {
        let all = chain(9);
        let mut walk = Walk::from("one", Point::default());
        assert_eq!(walk.take(&all[..7]), None);
        let ends = |head: Option<Point>| walk.end(head.as_ref()).map(|it| (it.sequence, it.flaw));
        assert_eq!(ends(Some(all[8].point())), Some((8, Flaw::Truncated)));
        assert_eq!(ends(Some(all[5].point())), Some((7, Flaw::Head)));
        assert_eq!(ends(Some(Point { sequence: 7, hash: vec![1] })), Some((7, Flaw::Head)));
        assert_eq!(ends(None), Some((7, Flaw::Head)));
        assert_eq!(Walk::from("none", Point::default()).end(None), None);
    }
}
