//! The only room that speaks HTTP outwards: presets as data, one client, answers turned into the domain's words.
//!
//! Never stores, never schedules, never retries: one call is at most one request at the provider, and what came of it is
//! told exactly. Invariant: no secret, URL query or body of an answer ever stands in an error or a log line.
//! The walk: [`preset`] (files) -> [`resolve`] (one app's provider) -> [`client`] (the verbs) -> [`wire`] (the request)
//! -> [`answer`] (the domain's words); identity goes [`id_token`] -> [`keys`];
//! who calls with a token of its own is checked by [`workload`].

pub mod address;
pub mod answer;
pub mod client;
mod departure;
pub mod discovery;
mod fields;
pub mod id_token;
mod issuer_keys;
pub mod keys;
pub mod mail_proof;
pub mod pkce;
pub mod preset;
mod redact;
mod request;
pub mod resolve;
pub mod resolved;
mod retry_after;
pub mod wire;
pub mod workload;

#[cfg(test)]
mod rogue;

use std::path::PathBuf;

pub use client::{
    AuthorizeRequest, ClientAuth, ClientVerdict, CodeGrant, ProviderClient, TokenKind,
};
pub use preset::{Preset, Presets};
pub use resolve::SettingsError;
pub use resolved::{Resolved, Urls};
pub use wire::{Wire, WireSettings};

/// How providers are spoken to.
#[derive(Clone, Debug, Default)]
pub struct ProviderSettings {
    /// Whether endpoints may be `http://` or on this machine: for test set-ups only.
    pub allow_insecure_loopback: bool,
    /// More certificate authorities to trust, as a PEM file.
    pub ca_file: Option<PathBuf>,
}
