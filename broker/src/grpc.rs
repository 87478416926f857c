//! The gRPC doors: unpack, ask who calls, ask for the permit, call the verb, pack.
//!
//! Never decides anything and never touches the store. Invariant: every method but health begins with the caller; errors
//! become statuses in `status.rs` and nowhere else. Next: `tokens.rs` is the shortest door.

mod accounts;
mod apps;
mod audit;
mod authenticate;
mod callers;
mod charts;
mod consents;
mod convert;
mod credentials;
mod draining;
mod keys;
mod listen;
mod mail;
mod measure;
mod names;
mod rights;
mod serve;
mod status;
mod system;
mod tls;
mod tokens;

pub use serve::{Door, GrpcSettings, Plane, serve};
pub use tls::{Identity, TlsFiles, TlsProblem};
