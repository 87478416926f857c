//! SMTP submission in front of an OAuth mailbox: the protocol's words, no socket.
//!
//! Never opens, reads or waits: `adapter_core` does, and carries out the steps the two dialogues here say. Invariant:
//! before login nothing of the client reaches the mail server and nothing of the server reaches the client; after login
//! not a byte is looked at. Next: `downstream` for the client's side, `upstream` for the provider's.

mod classify;
mod command;
mod downstream;
mod exchange;
mod extension;
mod line;
mod reply;
mod upstream;

#[cfg(test)]
mod cast;

use std::fmt;

use adapter_core::dialogue::{
    ClientDialogue, ClientFacts, Farewell, Protocol, ProviderDialogue, Upstream,
};

/// What EHLO says towards providers unless a name is set: an address literal, which RFC 5321 section 4.1.4 wants of a
/// client that has no name of its own. The true address is none of the provider's business.
const NAMELESS: &str = "[127.0.0.1]";

/// The protocol, as `adapter_core` drives it.
#[derive(Clone, Debug)]
pub struct Smtp {
    helo_name: String,
}

/// A name that cannot stand in EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHeloName;

impl fmt::Display for BadHeloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host name or address literal that can stand in EHLO")
    }
}

impl std::error::Error for BadHeloName {}

impl Smtp {
    /// Says `[127.0.0.1]` in EHLO.
    pub fn new() -> Self {
        Self { helo_name: NAMELESS.to_owned() }
    }

    /// Says `name` in EHLO: a host name or an address literal.
    ///
    /// # Errors
    /// An empty name, one over 255 bytes, or with anything but letters, digits and `.-:[]_`.
    pub fn with_helo_name(name: &str) -> Result<Self, BadHeloName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(legal) {
            return Err(BadHeloName);
        }
        Ok(Self { helo_name: name.to_owned() })
    }
}

impl Default for Smtp {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Smtp {
    const NAME: &'static str = "smtp";

    fn client(&self, facts: ClientFacts) -> Box<dyn ClientDialogue> {
        Box::new(downstream::Downstream::new(facts))
    }

    fn provider(&self, upstream: Upstream) -> Box<dyn ProviderDialogue> {
        Box::new(upstream::Provider::new(upstream, self.helo_name.clone()))
    }

    fn farewell(&self, why: Farewell) -> Vec<u8> {
        reply::farewell(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_for_ehlo_cannot_carry_a_command() {
        for name in ["", "a b", "a\r\nQUIT", "\u{e4}.example", &"a".repeat(256)] {
            assert_eq!(Smtp::with_helo_name(name).err(), Some(BadHeloName), "{name:?}");
        }
        for name in ["mail.example.com", "[127.0.0.1]", "[IPv6:::1]"] {
            assert!(Smtp::with_helo_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_farewell_is_a_421_that_says_why() {
        assert!(Smtp::new().farewell(Farewell::Stopping).starts_with(b"421 4.3.2 "));
        assert!(Smtp::new().farewell(Farewell::TooSlow).starts_with(b"421 4.4.2 "));
    }
}
