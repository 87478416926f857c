//! The adapter as a whole: real sockets on loopback, a broker and a mail server that do as a test says.
//!
//! `server` and those of `adapter_testkit` are the cast, `world` puts them around an adapter; the rest are the tests. Next: `login`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and has no Tasks"
)]

mod door;
mod login;
mod process;
mod revoke;
mod secure;
mod server;
mod stop;
mod world;
