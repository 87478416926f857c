//! How much is asked, by how many, and what is broken meanwhile.
//!
//! The seed decides every choice; what it does not decide is the timing of the machine. Next: [`super::rounds`].

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

/// Brokers on the one database.
pub const BROKERS: usize = 3;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Calls and changes of rights in all.
    pub operations: u64,
    /// Decides every choice.
    pub seed: u64,
    /// How many ask at each broker at the same time.
    pub callers: usize,
    /// How many change rights at the same time.
    pub operators: usize,
    /// Mailboxes.
    pub accounts: usize,
    /// OAuth apps that they are spread over.
    pub apps: usize,
    /// Services that ask for tokens.
    pub services: usize,
    /// Adapters that open sessions.
    pub adapters: usize,
    /// What spoils the brokers, to see the check find it.
    pub sabotage: Option<Sabotage>,
    /// Where everything is kept, also after the end; absent, a temporary folder.
    pub folder: Option<PathBuf>,
}

impl Plan {
    /// So many operations, with the usual cast.
    pub const fn new(operations: u64, seed: u64) -> Self {
        Self {
            operations,
            seed,
            callers: 32,
            operators: 24,
            accounts: 48,
            apps: 4,
            services: 6,
            adapters: 4,
            sabotage: None,
            folder: None,
        }
    }

    /// How long it may take: a minute, and what a slow machine needs.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_secs(60 + self.operations / 250)
    }
}

/// What spoils the brokers, so that the check has something to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// Decisions do not look at the rights epoch; needs brokers with failpoints.
    Epoch,
}

impl Sabotage {
    /// The switch in the broker.
    pub const fn switch(self) -> &'static str {
        match self {
            Self::Epoch => "decision.epoch=skip",
        }
    }
}
