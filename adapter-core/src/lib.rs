//! What every mail door shares, and the only adapter crate with sockets.
//!
//! Never knows a word of IMAP or SMTP: those are the dialogues of the adapters. Invariant: local login first, dial
//! second; after login not a byte is changed. Next: `dialogue` for the two traits the adapters implement.

pub mod broker;
pub mod dialogue;
pub mod limits;
pub mod metrics;
pub mod proxy_protocol;
pub mod relay;
pub mod report;
pub mod sasl;
pub mod session;
pub mod settings;
pub mod stream;
pub mod tasks;
pub mod tls;
