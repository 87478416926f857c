//! Kills the real broker again and again under load and looks whether anything is lost.
//!
//! Opposite plays the provider simulator, whose ground truth is the judge; nothing of the broker's own is believed but its
//! answers. Each round: start, judge what the last kill left, load, kill. Invariants are named I1 to I7 in [`judge`].
//! Next: [`plan`] says what is killed where, [`rounds`] runs it.

mod clients;
mod fleet;
mod grip;
mod judge;
mod load;
pub mod plan;
pub mod report;
mod rounds;
mod scene;

pub use plan::{Mode, Plan, Sabotage, built_with_failpoints};
pub use report::Report;
pub use rounds::run;
