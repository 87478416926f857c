//! The Rust client of Token Broker: access tokens for services, mail logins for adapters, the admin API for tools.
//!
//! Never logs a secret, never retries what is not safe to do twice, never waits without a deadline. Invariant:
//! whatever goes wrong ends in one typed [`Error`] that says who has to act. Next: [`TokenBroker`] for services,
//! [`MailLogin`] for adapters, [`Admin`] for tools; all three share a [`Connection`], made from [`Options`].
//!
//! Time: decisions are made on tokio's clock ([`tokio::time::Instant`]), so `tokio::time::pause` works in tests of
//! applications. The wall clock is read once per answer, to translate the broker's timestamps.

mod admin;
mod cache;
mod clock;
mod connector;
mod details;
mod door;
mod errors;
mod key;
mod mail;
mod options;
mod retry;
mod revocations;
mod token;
mod tokens;
mod transport;

pub use admin::Admin;
pub use door::Door;
pub use errors::{Error, Fault, OptionName};
pub use key::Secret;
pub use mail::{MAX_REPORTS, MailLogin, MailSession, Verdict};
pub use options::{API_KEY_ENV, Options};
pub use revocations::Revocations;
pub use token::AccessToken;
pub use tokens::{TokenBroker, TokenCall};
pub use transport::Connection;

/// The contract's own messages and clients, for what this crate does not wrap.
pub use tokenbroker_proto::v1;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
