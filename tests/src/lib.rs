//! The end-to-end crate: everything a test needs that is not the product.
//!
//! Nothing of the product ever names this crate; it may name everything. What lives here is a library, so that the demo,
//! the end-to-end tests, crash loops and benches share one world. Walk on in [`cast`]: who plays opposite the product.

pub mod cast;
