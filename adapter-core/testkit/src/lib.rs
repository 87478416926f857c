//! The cast of the adapters' tests; each adapter brings its own mail server.
//!
//! Never part of a program: only `[dev-dependencies]` name it. Invariant: everything is on loopback, and no wait is endless. Next:
//! `stage` starts an adapter before a `broker`, `client` talks to it, `identity` is for TLS.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and its cast lives as long as its runtime"
)]

mod broker;
mod client;
mod identity;
mod stage;

pub use broker::{Broker, CREDENTIAL, KEY, Memory, NAME, USER, denial};
pub use client::{Client, PATIENCE, eventually};
pub use identity::Identity;
pub use stage::{listener, nobody, settings, start, xoauth2};
/// The contract's messages, which [`Memory`] is made of.
pub use tokenbroker_proto::v1;
