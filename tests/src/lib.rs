//! The end-to-end crate: everything a test needs that is not the product.
//!
//! Nothing of the product ever names this crate; it may name everything. What lives here is a library, so that the demo,
//! the end-to-end tests, crash loops and benches share one world. Walk on in [`world`], where real processes are started,
//! and [`cast`]: who plays opposite them.

pub mod bench;
pub mod cast;
pub mod crash_loop;
pub mod demo;
pub mod leaks;
pub mod revocation_check;
pub mod simulation;
pub mod timing;
pub mod world;
