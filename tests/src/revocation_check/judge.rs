//! Whether anything was handed out on a right that had been taken: pure, over a whole history.
//!
//! A call that *began* after the taking of a right was *acknowledged* and that brings something is a violation, unless the right
//! may have been given back: a giving counts from its beginning until its end, and one without an answer until nobody can be at
//! it any more. A taking without an answer never counts. Each right is judged by itself, as a register; memory is what the
//! changes need. Next: [`super::report`] shows what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::history::{Ask, Call, End, Heard, History, Kind, Micros, Subject, Write};

/// So many violations of one kind are kept to be shown; all are counted.
const KEPT: u64 = 3;
/// So many other calls are shown with one.
const OTHERS: usize = 6;

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What was handed out and judged.
    pub grants: u64,
    /// What was refused, rightly: a right it stood on had been taken for certain before it began.
    pub pressed: u64,
    /// What was handed out and must not have been, by what was asked and whose right was gone.
    pub found: BTreeMap<(Ask, Kind), u64>,
    /// The first of these of each kind.
    pub violations: Vec<Violation>,
}

/// Something was handed out that must not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in [`History::calls`].
    pub call: usize,
    /// Whose right had been taken.
    pub subject: Subject,
    /// The taking, by its number in the subject's writes.
    pub taken: usize,
}

impl Verdict {
    /// How many violations there are.
    pub fn violated(&self) -> u64 {
        self.found.values().sum()
    }
}

/// The changes of one right, in order.
#[derive(Debug, Default)]
struct Course {
    /// Acknowledged takings by when they were acknowledged, each with the latest beginning so far and whose it is.
    taken: Vec<(Micros, Micros, usize)>,
    /// Givings by their beginnings, each with the latest end so far.
    given: Vec<(Micros, Micros)>,
}

impl Course {
    fn of(history: &History, writes: &[Write]) -> Self {
        let mut course = Self::default();
        for (number, write) in writes.iter().enumerate() {
            match (write.takes, write.end) {
                (true, End::Acknowledged(at)) => course.taken.push((at, write.begun, number)),
                (true, End::Maybe) => {}
                (false, _) => course.given.push((write.begun, history.latest(write))),
            }
        }
        course.taken.sort_unstable();
        course.given.sort_unstable();
        let mut newest = (0, 0);
        for (_, begun, number) in &mut course.taken {
            newest = newest.max((*begun, *number));
            (*begun, *number) = newest;
        }
        let mut latest = 0;
        for (_, end) in &mut course.given {
            latest = latest.max(*end);
            *end = latest;
        }
        course
    }

    /// The taking that forbids a call, if one does: it was over before the call began, and every giving that had begun
    /// before the call ended was over before it.
    fn forbids(&self, call: &Call) -> Option<usize> {
        let before = self.taken.partition_point(|(at, _, _)| *at < call.begun);
        let (_, begun, number) = self.taken.get(before.checked_sub(1)?)?;
        let begun_by_then = self.given.partition_point(|(begun, _)| *begun <= call.ended);
        let given = begun_by_then.checked_sub(1).and_then(|last| self.given.get(last));
        let superseded = given.is_none_or(|(_, end)| end < begun);
        superseded.then_some(*number)
    }
}

/// Judges it.
pub fn judge(history: &History) -> Verdict {
    let course = |thing: &super::history::Thing| Course::of(history, &thing.writes);
    let courses: Vec<Course> = history.things.iter().map(course).collect();
    let mut verdict = Verdict::default();
    for (number, call) in history.calls.iter().enumerate() {
        let gone = call.on.iter().find_map(|subject| {
            let taken = courses.get(subject.at())?.forbids(call)?;
            Some(Violation { call: number, subject: *subject, taken })
        });
        verdict.grants += u64::from(call.heard == Heard::Granted);
        match (call.heard, gone) {
            (Heard::Refused, Some(_)) => verdict.pressed += 1,
            (Heard::Granted, Some(violation)) => {
                let kind = history.things[violation.subject.at()].kind;
                let found = verdict.found.entry((call.ask, kind)).or_default();
                if *found < KEPT {
                    verdict.violations.push(violation);
                }
                *found += 1;
            }
            _ => {}
        }
    }
    verdict
}

/// The part of the history that shows a violation, for people.
pub fn excerpt(history: &History, violation: &Violation) -> String {
    let (call, thing) = (&history.calls[violation.call], &history.things[violation.subject.at()]);
    let taken = &thing.writes[violation.taken];
    let End::Acknowledged(at) = taken.end else { return String::new() };
    let mut text = format!(
        "{} at broker {} was granted; it began {} after \"{}\" of {} {} was acknowledged",
        call.ask.name(),
        call.broker,
        span(call.begun - at),
        taken.what,
        thing.kind.name(),
        thing.name
    );
    let mut lines: Vec<(Micros, String)> = Vec::new();
    let last_given = thing.writes.iter().rfind(|it| !it.takes && it.begun <= taken.begun);
    let later = thing.writes.iter().filter(|it| it.begun > taken.begun && it.begun <= call.ended);
    for write in last_given.into_iter().chain([taken]).chain(later) {
        lines.push((write.begun, change(write)));
    }
    let near = |it: &&Call| it.on.contains(&violation.subject) && it.ended >= taken.begun;
    let others = history.calls.iter().filter(near).filter(|it| it.begun <= call.ended);
    for other in others.filter(|it| *it != call).take(OTHERS) {
        lines.push((other.begun, asked(other)));
    }
    lines.push((call.begun, format!("{}   <-- must be refused", asked(call))));
    for fault in history.faults.iter().filter(|it| it.from <= call.ended && it.to >= taken.begun) {
        let harm = fault.harm.name();
        lines.push((
            fault.from,
            format!("broker {} {harm}, until {}", fault.broker, clock(fault.to)),
        ));
    }
    lines.sort();
    for (when, line) in lines {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n    {}  {line}", clock(when));
    }
    text
}

fn change(write: &Write) -> String {
    let Write { what, broker, .. } = write;
    match write.end {
        End::Acknowledged(at) => format!("broker {broker}: {what}, acknowledged at {}", clock(at)),
        End::Maybe => format!("broker {broker}: {what}, no certain answer"),
    }
}

fn asked(call: &Call) -> String {
    let heard = match call.heard {
        Heard::Granted => "granted",
        Heard::Refused => "refused",
        Heard::Unsure => "no certain answer",
    };
    format!("broker {}: {} {heard} at {}", call.broker, call.ask.name(), clock(call.ended))
}

fn clock(at: Micros) -> String {
    format!("{}.{:06}", at / 1_000_000, at % 1_000_000)
}

fn span(micros: Micros) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests;
