//! The gRPC doors: unpack, ask who calls, ask for the permit, call the verb, pack.
//!
//! Never decides anything and never touches the store. Invariant: every method but health begins with the caller; errors
//! become statuses in `status.rs` and nowhere else. Next: `tokens.rs` is the shortest door.

mod accounts;
mod apps;
mod audit;
mod authenticate;
mod caller_rights;
mod callers;
mod charts;
mod consents;
mod convert;
mod credentials;
mod keys;
mod listen;
mod mail;
mod measure;
mod names;
mod peer;
mod rights;
mod room;
mod serve;
mod sessions;
mod status;
mod system;
mod tls;
mod tokens;
mod watch;

pub use listen::DoorTls;
pub use serve::{Door, GrpcSettings, Plane, serve};
pub use tls::{Identity, TlsFiles, TlsProblem};
