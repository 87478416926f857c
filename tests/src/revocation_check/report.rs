//! What came of a check, as a table for people and as JSON.
//!
//! Plain data. Next: `bin/revocation-check.rs` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::history::{Ask, End, Harm, Heard, History, Kind};
use super::judge::{Verdict, excerpt};

/// Lines of a broker's log that name a panic.
pub(super) const PANIC: &str = "panicked at";

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Decided every choice.
    pub seed: u64,
    /// Calls and changes that were asked for.
    pub wanted: u64,
    /// Calls and changes that were made.
    pub operations: u64,
    /// How long it took, without what came before and after.
    pub took: Duration,
    /// Calls, by what was asked and what was heard.
    pub calls: BTreeMap<(Ask, Heard), u64>,
    /// Changes of rights, by what they were about.
    pub changes: BTreeMap<Kind, Changes>,
    /// What was done to the brokers.
    pub faults: BTreeMap<Harm, u64>,
    /// What was handed out and judged.
    pub grants: u64,
    /// What was refused since a right was gone for certain.
    pub pressed: u64,
    /// What must not have been handed out, by what was asked and whose right was gone.
    pub found: BTreeMap<(Ask, Kind), u64>,
    /// The part of the history around the first of these.
    pub violations: Vec<String>,
    /// What is wrong with the audit.
    pub audit: Vec<String>,
    /// Whatever else is wrong.
    pub wrong: Vec<String>,
}

/// Changes of one kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rights that were taken, acknowledged.
    pub taken: u64,
    /// The same without a certain answer.
    pub maybe_taken: u64,
    /// Rights that were given, acknowledged.
    pub given: u64,
    /// The same without a certain answer.
    pub maybe_given: u64,
}

impl Report {
    /// Adds up a history and what the judge said of it.
    pub(super) fn sum_up(&mut self, history: &History, verdict: &Verdict) {
        for call in &history.calls {
            *self.calls.entry((call.ask, call.heard)).or_default() += 1;
        }
        for thing in &history.things {
            let changes = self.changes.entry(thing.kind).or_default();
            for write in &thing.writes {
                let count = match (write.takes, write.end) {
                    (true, End::Acknowledged(_)) => &mut changes.taken,
                    (true, End::Maybe) => &mut changes.maybe_taken,
                    (false, End::Acknowledged(_)) => &mut changes.given,
                    (false, End::Maybe) => &mut changes.maybe_given,
                };
                *count += 1;
            }
        }
        for fault in &history.faults {
            *self.faults.entry(fault.harm).or_default() += 1;
        }
        (self.grants, self.pressed) = (verdict.grants, verdict.pressed);
        self.found.clone_from(&verdict.found);
        self.violations = verdict.violations.iter().map(|it| excerpt(history, it)).collect();
    }

    /// How much was handed out that must not have been.
    pub fn violated(&self) -> u64 {
        self.found.values().sum()
    }

    /// Rights whose taking was acknowledged.
    pub fn taken(&self) -> u64 {
        self.changes.values().map(|changes| changes.taken).sum()
    }

    /// Whether all is as it should be.
    pub fn is_clean(&self) -> bool {
        self.violated() == 0 && self.audit.is_empty() && self.wrong.is_empty()
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let calls = Ask::ALL.map(|ask| {
            json!({
                "call": ask.name(), "granted": self.heard(ask, Heard::Granted),
                "refused": self.heard(ask, Heard::Refused), "unsure": self.heard(ask, Heard::Unsure),
            })
        });
        let changes = self.changes.iter().map(|(kind, it)| {
            json!({
                "of": kind.name(), "taken": it.taken, "maybe_taken": it.maybe_taken, "given": it.given,
                "maybe_given": it.maybe_given,
            })
        });
        let faults =
            self.faults.iter().map(|(harm, count)| json!({ "fault": harm.name(), "count": count }));
        let found = self.found.iter().map(|((ask, kind), count)| {
            json!({ "call": ask.name(), "gone": kind.name(), "count": count })
        });
        json!({
            "seed": self.seed,
            "wanted": self.wanted,
            "operations": self.operations,
            "seconds": self.took.as_secs_f64(),
            "calls": calls,
            "changes": changes.collect::<Vec<_>>(),
            "faults": faults.collect::<Vec<_>>(),
            "grants_judged": self.grants,
            "refused_after_a_revocation": self.pressed,
            "violated": self.violated(),
            "found": found.collect::<Vec<_>>(),
            "violations": self.violations,
            "audit": self.audit,
            "wrong": self.wrong,
        })
    }

    fn heard(&self, ask: Ask, heard: Heard) -> u64 {
        self.calls.get(&(ask, heard)).copied().unwrap_or(0)
    }

    fn tables(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<34}{:>12}{:>12}{:>12}", "calls", "granted", "refused", "unsure")?;
        for ask in Ask::ALL {
            let of = |heard| self.heard(ask, heard);
            let [granted, refused, unsure] =
                [Heard::Granted, Heard::Refused, Heard::Unsure].map(of);
            writeln!(f, "{:<34}{granted:>12}{refused:>12}{unsure:>12}", ask.name())?;
        }
        let titles = ("rights", "taken", "maybe", "given", "maybe");
        writeln!(
            f,
            "\n{:<34}{:>12}{:>12}{:>12}{:>12}",
            titles.0, titles.1, titles.2, titles.3, titles.4
        )?;
        for (kind, it) in &self.changes {
            let Changes { taken, maybe_taken, given, maybe_given } = it;
            let name = kind.name();
            writeln!(f, "{name:<34}{taken:>12}{maybe_taken:>12}{given:>12}{maybe_given:>12}")?;
        }
        writeln!(f, "\n{:<34}{:>12}", "brokers", "times")?;
        for (harm, count) in &self.faults {
            writeln!(f, "{:<34}{count:>12}", harm.name())?;
        }
        writeln!(f)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tables(f)?;
        for ((ask, kind), count) in &self.found {
            let (ask, kind) = (ask.name(), kind.name());
            writeln!(
                f,
                "VIOLATED  {count} times: {ask} was granted although the {kind} had been taken"
            )?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATED  {violation}")?;
        }
        for what in &self.audit {
            writeln!(f, "AUDIT     {what}")?;
        }
        for what in &self.wrong {
            writeln!(f, "WRONG     {what}")?;
        }
        let seconds = self.took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = self.operations as f64 / seconds.max(0.001);
        writeln!(
            f,
            "{} operations in {seconds:.0} s, {rate:.0} a second, seed {}",
            self.operations, self.seed
        )?;
        write!(
            f,
            "{} grants judged against {} acknowledged revocations, {} calls refused since a right was gone: {} violations, \
             {} findings in the audit",
            self.grants,
            self.taken(),
            self.pressed,
            self.violated(),
            self.audit.len()
        )
    }
}
