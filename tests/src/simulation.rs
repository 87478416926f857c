//! The refresh core against models of store, provider, replicas and people, from a seed, in virtual time.
//!
//! Never starts a program, reads a clock or opens a socket. Invariants: the same seed gives the same run, event by event; the
//! decisions are the product's own (`token_broker::domain::refresh`), everything around them is a model that may be broken on
//! purpose ([`Break`]), so that it is known to be able to fail. [`run`] plays one seed, [`fleet`] the schedule of millions of
//! accounts. Walk on in `plan` (what a seed is about), `world` (the loop), `replica` and `drive` (who acts), `judge` (what must
//! always be true).

mod call;
mod chance;
mod desk;
mod drive;
mod faults;
pub mod fleet;
mod judge;
mod people;
mod plan;
mod provider;
mod replica;
mod store;
mod transact;
mod verdict;
mod world;

use std::fmt;

pub use world::run;

/// A step of the driver that is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The token is spent without writing the intent down.
    NoIntent,
    /// Nobody takes or heeds the lease.
    NoLease,
    /// What the provider handed out goes to callers before it is stored.
    StoreAfterParse,
    /// An answer that comes late is thrown away.
    Overwrite,
    /// One refusal kills an account.
    BelieveFirst,
    /// The spill files are not read at the start.
    ForgetSpill,
    /// A refusal is judged by what was known before the provider was asked.
    NoReread,
    /// An answer whose commit was not confirmed is stored once more.
    KeepTwice,
    /// A refusal whose commit was not confirmed is counted once more.
    NoteTwice,
    /// The provider's wish for silence is not heeded.
    NoSilence,
    /// Rights are believed for some seconds after they were read.
    StaleRights,
}

impl Break {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoIntent,
        Self::NoLease,
        Self::StoreAfterParse,
        Self::Overwrite,
        Self::BelieveFirst,
        Self::ForgetSpill,
        Self::NoReread,
        Self::KeepTwice,
        Self::NoteTwice,
        Self::NoSilence,
        Self::StaleRights,
    ];

    /// As given on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoIntent => "no-intent",
            Self::NoLease => "no-lease",
            Self::StoreAfterParse => "store-after-parse",
            Self::Overwrite => "overwrite",
            Self::BelieveFirst => "believe-first",
            Self::ForgetSpill => "forget-spill",
            Self::NoReread => "no-reread",
            Self::KeepTwice => "keep-twice",
            Self::NoteTwice => "note-twice",
            Self::NoSilence => "no-silence",
            Self::StaleRights => "stale-rights",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// What came of one seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The invariant that broke, and how; none if all held.
    pub broken: Option<String>,
    /// The last events before that; empty unless asked for.
    pub trace: Vec<String>,
    /// Events that happened.
    pub events: u64,
    /// Calls that reached the provider.
    pub calls: u64,
    /// Tokens handed to callers.
    pub granted: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Refresh tokens that died although nobody took them back, all flagged.
    pub excused: u64,
    /// Milliseconds that passed inside.
    pub virtual_ms: i64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broken {
            None => write!(f, "seed {}: all held over {} events", self.seed, self.events),
            Some(broken) => {
                for line in &self.trace {
                    writeln!(f, "  {line}")?;
                }
                writeln!(f, "seed {}: {broken}", self.seed)?;
                write!(f, "replay: make simulate FIRST_SEED={} SEEDS=1", self.seed)
            }
        }
    }
}
