//! The adapter between a broker, a mail server and clients, on loopback.
//!
//! Never leaves this machine. Next: `world` builds it, `login` and `joined` tell what happens.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and its helpers live as long as it"
)]

mod joined;
mod login;
mod server;
mod world;
