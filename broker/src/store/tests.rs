//! The store's tests: sentences that hold on both engines, and the house they run in.
//!
//! Never share a database: each test has its own file or its own database in a private PostgreSQL. Next:
//! `engines.rs` starts it, `samples.rs` makes rows in which no column has its default.

mod accounts;
mod apps;
mod audit;
mod chains;
mod consents;
mod deciding;
pub(super) mod engines;
mod giving_back;
mod grants;
mod open_sessions;
mod opening;
mod pressure;
mod refreshes;
mod rights;
mod samples;
mod schema;
mod stroke;
mod terms;
mod writing;
