//! The cast: those who play opposite the product on loopback.
//!
//! A provider that hands out tokens and remembers every one of them, a mailbox that believes only that provider, and the
//! two kinds of client that a test drives by hand. Nothing here listens on or connects to anything but loopback, every
//! buffer has a bound and every wait a deadline. Walk on in [`provider`], then [`mailbox`].

pub mod background;
pub mod browser;
pub mod ca;
pub mod cable;
pub mod clock;
pub mod mailbox;
pub mod provider;
pub mod speaker;
