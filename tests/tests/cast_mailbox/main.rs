//! The fake mail servers keep their word, to raw lines and to real clients.
//!
//! Judges the judge, so that a red test elsewhere is the product's fault. Loopback only.

mod clients;
mod imap;
mod smtp;
mod world;
