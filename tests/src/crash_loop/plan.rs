//! How often, where and with whom the broker is killed.
//!
//! The seed decides every choice of the loop; what it does not decide is the timing of the machine. Next: [`super::rounds`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use token_broker_client::v1;

use crate::cast::provider::settings::Rotation;
use crate::world::Engine;
use crate::world::binaries::binary;

/// The variable that a broker with failpoints reads.
pub const VARIABLE: &str = "TOKEN_BROKER_FAILPOINT";

/// Every place where a broker with failpoints can be killed.
pub const FAILPOINTS: [&str; 13] = [
    "refresh.begin",
    "refresh.intended",
    "refresh.answered",
    "refresh.sealed",
    "refresh.kept",
    "refresh.noted",
    "consent.claimed",
    "consent.exchanged",
    "consent.live",
    "revoke.stored",
    "decision.made",
    "decision.recorded",
    SPILL,
];

/// Reached only when an answer cannot be stored.
pub(super) const SPILL: &str = "spill.written";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many kills.
    pub kills: usize,
    /// Where the broker keeps its state.
    pub engine: Engine,
    /// Decides every choice.
    pub seed: u64,
    /// One app each.
    pub modes: Vec<Mode>,
    /// Accounts of each app.
    pub accounts: usize,
    /// The failpoints to kill at; empty: at random moments only.
    pub failpoints: Vec<&'static str>,
    /// What spoils the broker, to see the loop find it.
    pub sabotage: Option<Sabotage>,
    /// Where everything is kept, also after the end; absent, a temporary folder.
    pub folder: Option<PathBuf>,
}

impl Plan {
    /// Kills at random moments, and at every failpoint that the broker beside us was built with.
    ///
    /// # Errors
    /// There is no broker.
    pub fn new(kills: usize, engine: Engine, seed: u64) -> Result<Self> {
        let failpoints = if built_with_failpoints()? { FAILPOINTS.to_vec() } else { Vec::new() };
        Ok(Self {
            kills,
            engine,
            seed,
            modes: Mode::ALL.to_vec(),
            accounts: 6,
            failpoints,
            sabotage: None,
            folder: None,
        })
    }

    /// The kills to come: each failpoint once, then as the dice fall.
    pub(super) fn points(&self) -> VecDeque<Point> {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let named = if self.sabotage.is_some() { &[][..] } else { &self.failpoints[..] };
        (0..self.kills)
            .map(|kill| match named.get(kill) {
                Some(name) => self.at(name, &mut dice),
                None if !named.is_empty() && dice.random_range(0..10) < 6 => {
                    let name = named[dice.random_range(0..named.len())];
                    // Seconds pass until a broker gives up storing: that one has its turn less often.
                    let again = name != SPILL || dice.random_range(0..8) == 0;
                    let name = if again { name } else { named[0] };
                    self.at(name, &mut dice)
                }
                None => {
                    let after = Duration::from_millis(dice.random_range(20..=800));
                    let twice = self.sabotage.is_none() && dice.random_range(0..6) == 0;
                    let again = Duration::from_millis(dice.random_range(0..=150));
                    Point::Moment { after, again: twice.then_some(again) }
                }
            })
            .collect()
    }

    fn at(&self, name: &'static str, dice: &mut StdRng) -> Point {
        // The judge refreshes every account once before the load begins; most kills shall fall into the load.
        let judged = match name.split_once('.') {
            Some(("refresh" | "decision", _)) => {
                u32::try_from(self.accounts * self.modes.len()).unwrap_or(0)
            }
            _ => 0,
        };
        let most = match name {
            SPILL => 1,
            _ if judged > 0 => 12,
            _ => 2,
        };
        Point::Failpoint { name, nth: judged + dice.random_range(1..=most) }
    }
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mode {
    /// It stays.
    None,
    /// A new one comes, the old one stays valid.
    Replace,
    /// A new one comes, the old one works for 30 seconds more.
    Grace,
    /// A new one comes, the use of the old one kills both.
    Strict,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Replace, Self::Grace, Self::Strict];

    /// Its name, which is also its app's id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Replace => "replace",
            Self::Grace => "grace",
            Self::Strict => "strict",
        }
    }

    /// Whether a lost answer is no loss.
    pub const fn survives(self) -> bool {
        !matches!(self, Self::Strict)
    }

    pub(super) const fn rotation(self) -> Rotation {
        match self {
            Self::None => Rotation::None,
            Self::Replace => Rotation::Replace,
            Self::Grace => Rotation::Grace { seconds: 30 },
            Self::Strict => Rotation::Strict,
        }
    }

    pub(super) const fn word(self) -> v1::Rotation {
        match self {
            Self::None => v1::Rotation::None,
            Self::Replace => v1::Rotation::Replace,
            Self::Grace => v1::Rotation::Grace,
            Self::Strict => v1::Rotation::Strict,
        }
    }
}

/// What spoils the broker, so that the loop has something to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// After each kill the store is what it was before the life of the broker; SQLite only.
    Rollback,
    /// No intent is written before a refresh token is spent; needs a broker with failpoints.
    Intent,
    /// An answer is told before it is stored; needs a broker with failpoints.
    StoreFirst,
}

impl Sabotage {
    /// The switch in the broker, if it is one.
    pub const fn switch(self) -> Option<&'static str> {
        match self {
            Self::Rollback => None,
            Self::Intent => Some("refresh.intent=skip"),
            Self::StoreFirst => Some("refresh.store_first=skip"),
        }
    }
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// At a moment of the load; then perhaps once more while the broker starts again.
    Moment { after: Duration, again: Option<Duration> },
    /// When a failpoint is reached for the nth time.
    Failpoint { name: &'static str, nth: u32 },
}

impl Point {
    /// Its row in the report.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Moment { again: None, .. } => "random",
            Self::Moment { .. } => "random, then at start",
            Self::Failpoint { name, .. } => name,
        }
    }

    /// How long it may take to be reached.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Moment { after, .. } => after,
            Self::Failpoint { name: SPILL, .. } => Duration::from_secs(15),
            Self::Failpoint { .. } => Duration::from_secs(3),
        }
    }

    /// What the broker is told.
    pub(super) fn value(self) -> Option<String> {
        match self {
            Self::Moment { .. } => None,
            Self::Failpoint { name, nth } => Some(format!("{name}=kill@{nth}")),
        }
    }
}

/// Whether the broker beside us was built with failpoints: then it knows the name of their variable.
///
/// # Errors
/// There is no broker.
pub fn built_with_failpoints() -> Result<bool> {
    let path = binary("token-broker")?;
    let program = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(program.windows(VARIABLE.len()).any(|part| part == VARIABLE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(failpoints: &[&'static str], sabotage: Option<Sabotage>) -> Plan {
        Plan {
            kills: 100,
            engine: Engine::Sqlite,
            seed: 7,
            modes: Mode::ALL.to_vec(),
            accounts: 6,
            failpoints: failpoints.to_vec(),
            sabotage,
            folder: None,
        }
    }

    #[test]
    fn every_failpoint_has_its_turn_before_the_dice_are_thrown() {
        let points = plan(&FAILPOINTS, None).points();
        let first: Vec<&str> =
            points.iter().take(FAILPOINTS.len()).map(|point| point.label()).collect();
        assert_eq!(first, FAILPOINTS);
        assert!(points.iter().skip(FAILPOINTS.len()).any(|point| point.label() == "random"));
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(plan(&FAILPOINTS, None).points(), plan(&FAILPOINTS, None).points());
        let other = Plan { seed: 8, ..plan(&FAILPOINTS, None) };
        assert_ne!(plan(&FAILPOINTS, None).points(), other.points());
    }

    #[test]
    fn without_failpoints_and_under_sabotage_all_kills_are_random() {
        for plan in [plan(&[], None), plan(&FAILPOINTS, Some(Sabotage::Intent))] {
            assert!(plan.points().iter().all(|point| point.value().is_none()));
        }
    }
}
