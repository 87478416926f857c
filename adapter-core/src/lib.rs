//! What every mail door shares, and the only adapter crate with sockets.
//!
//! Never knows a word of IMAP or SMTP: those are the dialogues of the adapters. Invariant: local login first, dial
//! second; after login not a byte is changed. Next: `dialogue` for the two traits the adapters implement.

pub mod dialogue;
pub mod sasl;
