//! What the broker talks about, in plain values.
//!
//! Never does anything: no async, no clock, no SQL, no gRPC, no HTTP. Invariant: every rule that can be a pure function
//! stands here and is told the time. Next: `seal`, `store` and `providers` carry these values; `service` decides with them.

pub mod account;
pub mod app;
pub mod caller;
pub mod caller_identity;
pub mod chain;
pub mod chart;
pub mod checkpoint;
pub mod consent;
pub mod credential;
pub mod diagnosis;
pub mod event;
pub mod grant;
pub mod guarded;
pub mod guessing;
pub mod ids;
pub mod keeper;
pub mod mail;
pub mod parts;
pub mod provider;
pub mod refresh;
pub mod refusal;
pub mod right;
pub mod secret;
pub mod session;
pub mod token;
