//! The fake provider keeps its word: what it issues, rotates, refuses and breaks on demand.
//!
//! Judges the judge, so that a red test elsewhere is the product's fault. Loopback only.

mod consent;
mod counts;
mod documentation;
mod faults;
mod issue;
mod rotation;
mod walk;
