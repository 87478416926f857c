//! What came of a crash loop, as a table for people and as JSON.
//!
//! Plain data. Next: `bin/crash-loop.rs` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::Mode;

/// So many broken invariants are shown to people.
const SHOWN: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Decided every choice.
    pub seed: u64,
    /// Whether the broker was built with failpoints.
    pub failpoints: bool,
    /// Kills in all.
    pub kills: u64,
    /// How often a failpoint was not reached in time, and the broker was killed all the same.
    pub missed: u64,
    /// How long it took.
    pub took: Duration,
    /// The slowest start of the broker.
    pub slowest_start: Duration,
    /// By rotation mode and place of the kill.
    pub rows: BTreeMap<(Mode, &'static str), Row>,
    /// The invariants that were broken, in words.
    pub broken: Vec<String>,
}

/// The sums of one rotation mode at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Kills there.
    pub kills: u64,
    /// Refreshes that the provider was asked for.
    pub refreshes: u64,
    /// Accounts whose newest answer no client was told of.
    pub cut: u64,
    /// Accounts that the broker said it is in doubt about.
    pub in_doubt: u64,
    /// Accounts whose refresh token was lost.
    pub lost: u64,
    /// Of these, told by the broker at once.
    pub named: u64,
    /// Of these, not told.
    pub unnamed: u64,
}

impl Report {
    /// The row of a mode and a place.
    pub(super) fn row(&mut self, mode: Mode, place: &'static str) -> &mut Row {
        self.rows.entry((mode, place)).or_default()
    }

    /// How many refresh tokens were lost, in `modes`.
    pub fn lost(&self, fits: impl Fn(Mode) -> bool) -> u64 {
        self.rows.iter().filter(|((mode, _), _)| fits(*mode)).map(|(_, row)| row.lost).sum()
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let row = |((mode, place), row): (&(Mode, &'static str), &Row)| {
            json!({
                "rotation": mode.name(), "at": place, "kills": row.kills, "refreshes": row.refreshes, "cut": row.cut,
                "in_doubt": row.in_doubt, "lost": row.lost, "named": row.named, "unnamed": row.unnamed,
            })
        };
        json!({
            "seed": self.seed,
            "failpoints": self.failpoints,
            "kills": self.kills,
            "missed": self.missed,
            "seconds": self.took.as_secs_f64(),
            "slowest_start_ms": u64::try_from(self.slowest_start.as_millis()).unwrap_or(u64::MAX),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "broken": self.broken,
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<9}{:<23}{:>7}{:>11}{:>7}{:>10}{:>7}{:>7}{:>9}",
            "rotation",
            "killed at",
            "kills",
            "refreshes",
            "cut",
            "in doubt",
            "lost",
            "named",
            "unnamed"
        )?;
        for ((mode, place), row) in &self.rows {
            let Row { kills, refreshes, cut, in_doubt, lost, named, unnamed } = row;
            writeln!(
                f,
                "{:<9}{place:<23}{kills:>7}{refreshes:>11}{cut:>7}{in_doubt:>10}{lost:>7}{named:>7}{unnamed:>9}",
                mode.name()
            )?;
        }
        for what in self.broken.iter().take(SHOWN) {
            writeln!(f, "BROKEN  {what}")?;
        }
        if self.broken.len() > SHOWN {
            writeln!(f, "BROKEN  and {} more", self.broken.len() - SHOWN)?;
        }
        if !self.failpoints {
            writeln!(f, "The broker has no failpoints: all kills were at random moments.")?;
        }
        if self.missed > 0 {
            writeln!(
                f,
                "{} kills came later than their failpoint was to be reached.",
                self.missed
            )?;
        }
        let (seconds, start) = (self.took.as_secs(), self.slowest_start.as_millis());
        let broken = self.broken.len();
        write!(
            f,
            "{} kills in {seconds} s, slowest start {start} ms, seed {}: {broken} invariants broken",
            self.kills, self.seed
        )
    }
}
