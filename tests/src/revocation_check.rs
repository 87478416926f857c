//! Asks three real brokers on one PostgreSQL for tokens and sessions while rights are taken away, and checks the history.
//!
//! Brokers are paused, cut off from the database or from their clients, and killed meanwhile. Nothing of the brokers' own is
//! believed but their answers and, for the audit, their database. Invariant: what is a violation is decided by pure code over
//! one history with one clock, [`judge`]. Next: [`plan`] says how much, [`rounds`] runs it.

mod accounts;
mod audit;
mod callers;
mod clients;
mod desk;
mod faults;
mod game;
mod hand;
pub mod history;
pub mod judge;
mod load;
mod passwords;
pub mod plan;
pub mod report;
mod rounds;
mod stage;
mod switches;

pub use plan::{Plan, Sabotage};
pub use report::Report;
pub use rounds::{Progress, run};
