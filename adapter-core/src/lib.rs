//! What every mail door shares, and the only adapter crate with sockets.
//!
//! Never knows a word of IMAP or SMTP: those are the dialogues of the adapters. Invariant: local login first, dial
//! second; after login not a byte is changed. Next: `dialogue` for the two traits the adapters implement, `run` for the way
//! of a connection: `listen`, `connection`, `drive`, `login`, `upstream`, `relay`; `watch` for how one is ended from afar.

pub mod adapter;
pub mod boundary;
pub mod broker;
mod connection;
pub mod dialogue;
mod drive;
pub mod limits;
pub mod listen;
pub mod login;
pub mod metrics;
pub mod offers;
mod ops;
pub mod proxy_protocol;
pub mod relay;
pub mod report;
pub mod run;
pub mod sasl;
pub mod session;
pub mod settings;
pub mod stream;
pub mod tasks;
pub mod tls;
pub mod upstream;
pub mod watch;

pub use run::run;
