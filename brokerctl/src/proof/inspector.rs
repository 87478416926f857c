//! Goes along all chains of an audit, record by record, and says of each which record is the first bad one.
//!
//! Never stops at the first bad chain. Invariant: records of a chain come in the order of the export; chains may mix.

use std::collections::BTreeMap;

use super::checkpoints::{Checkpoint, Checkpoints};
use super::record::{Ends, Header, Record, digest_of_floors};
use super::unhex;

/// How far ahead a record is looked for that belongs where another one stands.
const AHEAD: usize = 1000;
const PRUNED: &str = "audit.pruned";

/// The first bad record of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) sequence: i64,
    pub(crate) flaw: &'static str,
    pub(crate) detail: String,
}

/// What became of a chain.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) chain: String,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) records: i64,
    pub(crate) fault: Option<Fault>,
}

/// How the checkpoints fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attested {
    /// The record was as the checkpoint says.
    pub(crate) matched: u64,
    /// The record was removed by retention since.
    pub(crate) pruned: u64,
    /// Lines that are no checkpoints.
    pub(crate) unreadable: u64,
}

/// All chains under way.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    courses: BTreeMap<String, Course>,
    pruning: Option<(i64, String)>,
    attested: Attested,
}

/// One chain under way.
#[derive(Debug)]
struct Course {
    ends: Ends,
    sequence: i64,
    hash: Vec<u8>,
    records: i64,
    fault: Option<Fault>,
    /// Records seen since the fault.
    behind: usize,
    /// By number: the hash that a checkpoint saw, and when.
    points: BTreeMap<i64, Vec<(String, String)>>,
}

impl Inspector {
    /// Begins with what the export, or the broker, says of the chains.
    pub(crate) fn new(header: &Header, checkpoints: Checkpoints) -> Self {
        let mut inspector = Self::default();
        for ends in &header.chains {
            inspector.courses.insert(ends.chain.clone(), Course::new(ends.clone()));
        }
        inspector.attested.unreadable = checkpoints.unreadable;
        for Checkpoint { chain, sequence, hash, time, .. } in checkpoints.all {
            let course = inspector.course(&chain);
            course.points.entry(sequence).or_default().push((hash, time));
        }
        for course in inspector.courses.values_mut() {
            course.begin(&mut inspector.attested);
        }
        inspector
    }

    /// The next record.
    pub(crate) fn take(&mut self, record: &Record) {
        if record.chain.is_empty() && record.event == PRUNED {
            self.pruning = Some((record.sequence, record.detail.clone()));
        }
        let mut attested = self.attested;
        self.course(&record.chain).take(record, &mut attested);
        self.attested = attested;
    }

    /// What became of all of them.
    pub(crate) fn end(mut self) -> (Vec<Verdict>, Attested) {
        let floors = self.floors();
        for course in self.courses.values_mut() {
            if course.fault.is_none() {
                course.fault = course.end();
            }
        }
        if let (Some(course), Err(detail)) = (self.courses.get_mut(""), floors)
            && course.fault.is_none()
        {
            let sequence = course.ends.floor_sequence + 1;
            course.fault = Some(Fault { sequence, flaw: "floor", detail });
        }
        let verdict = |course: Course| Verdict {
            first: course.ends.floor_sequence + 1,
            last: course.ends.head_sequence,
            chain: course.ends.chain,
            records: course.records,
            fault: course.fault,
        };
        (self.courses.into_values().map(verdict).collect(), self.attested)
    }

    /// Whether the newest record of pruning says the floors that there are.
    fn floors(&self) -> Result<(), String> {
        let floors = self.courses.values().map(|course| &course.ends);
        let floors: Vec<_> = floors.filter(|ends| ends.floor_sequence > 0).collect();
        let bytes = |ends: &Ends| unhex(&ends.floor_hash).unwrap_or_default();
        let told =
            floors.iter().map(|ends| (ends.chain.as_str(), ends.floor_sequence, bytes(ends)));
        let digest = digest_of_floors(told);
        match &self.pruning {
            None if floors.is_empty() => Ok(()),
            None => Err("records were removed, and no record tells of it".to_owned()),
            Some((_, detail)) if detail.rsplit(' ').next() == Some(&digest) => Ok(()),
            Some((sequence, _)) => {
                Err(format!("chains do not begin where record {sequence} of the changes says"))
            }
        }
    }

    /// A chain; one that nobody has told of has no head.
    fn course(&mut self, chain: &str) -> &mut Course {
        self.courses.entry(chain.to_owned()).or_insert_with(|| {
            Course::new(Ends {
                chain: chain.to_owned(),
                floor_sequence: 0,
                floor_hash: String::new(),
                head_sequence: 0,
                head_hash: String::new(),
            })
        })
    }
}

impl Course {
    fn new(ends: Ends) -> Self {
        Self {
            sequence: ends.floor_sequence,
            hash: unhex(&ends.floor_hash).unwrap_or_default(),
            ends,
            records: 0,
            fault: None,
            behind: 0,
            points: BTreeMap::new(),
        }
    }

    /// Looks at the checkpoints up to where the chain begins.
    fn begin(&mut self, attested: &mut Attested) {
        let later = self.points.split_off(&self.ends.floor_sequence);
        let gone = std::mem::replace(&mut self.points, later);
        attested.pruned += gone.values().map(|all| all.len() as u64).sum::<u64>();
        let (floor, hash) = (self.ends.floor_sequence, self.ends.floor_hash.clone());
        self.compare(floor, &hash, attested);
    }

    fn take(&mut self, record: &Record, attested: &mut Attested) {
        if let Some(fault) = &mut self.fault {
            self.behind += 1;
            let belongs = fault.flaw == "edited"
                && self.behind <= AHEAD
                && record.hash == record.link(fault.sequence, &self.hash);
            if belongs {
                fault.flaw = "reordered";
                fault.detail = format!("what belongs here stands at {}", record.sequence);
            }
            return;
        }
        let sequence = self.sequence + 1;
        if record.sequence != sequence {
            let detail = format!("record {sequence} is missing; {} follows", record.sequence);
            self.fault = Some(Fault { sequence, flaw: "missing", detail });
            return;
        }
        if record.hash != record.link(sequence, &self.hash) {
            let detail = format!("record {sequence} does not follow from the one before it");
            self.fault = Some(Fault { sequence, flaw: "edited", detail });
            return;
        }
        (self.sequence, self.hash) = (sequence, unhex(&record.hash).unwrap_or_default());
        self.records += 1;
        self.compare(sequence, &record.hash, attested);
    }

    /// Compares a record's hash with what checkpoints saw.
    fn compare(&mut self, sequence: i64, hash: &str, attested: &mut Attested) {
        for (seen, time) in self.points.remove(&sequence).unwrap_or_default() {
            if seen == hash {
                attested.matched += 1;
            } else if self.fault.is_none() {
                let detail = format!(
                    "record {sequence} is another one than the checkpoint of {time} saw; this or one before it was rewritten"
                );
                self.fault = Some(Fault { sequence, flaw: "rewritten", detail });
            }
        }
    }

    fn end(&self) -> Option<Fault> {
        let (last, head) = (self.sequence, self.ends.head_sequence);
        let fault = |sequence, flaw, detail| Some(Fault { sequence, flaw, detail });
        if head > last {
            return fault(
                last + 1,
                "truncated",
                format!("records {} to {head} are missing", last + 1),
            );
        }
        if let Some((newest, seen)) = self.points.last_key_value() {
            let time = seen.first().map(|(_, time)| time.as_str()).unwrap_or_default();
            let told = format!("the checkpoint of {time} saw {newest} records, {last} are left");
            return fault(last + 1, "truncated", told);
        }
        if head < last {
            return fault(
                head + 1,
                "head",
                format!("the head names record {head}, and later ones exist"),
            );
        }
        if unhex(&self.ends.head_hash).unwrap_or_default() != self.hash {
            let told = format!("record {last} is not the one that the head names");
            return fault(last, "head", told);
        }
        None
    }
}
