//! SMTP submission in front of an OAuth mailbox: the protocol's words, no socket.
//!
//! Never opens, reads or waits: `adapter_core` does, and carries out the steps the two dialogues here say. Invariant:
//! before login nothing of the client reaches the mail server and nothing of the server reaches the client; after login
//! it looks on, to know where a reply ends, and no more. Next: `downstream` for the client's side, `upstream` for the provider's.

mod boundary;
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

use adapter_core::boundary::Boundaries;
use adapter_core::dialogue::{
    ClientDialogue, ClientFacts, Farewell, Protocol, ProviderDialogue, Upstream,
};

/// The protocol, as `adapter_core` drives it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smtp;

impl Protocol for Smtp {
    const NAME: &'static str = "smtp";

    fn client(&self, facts: ClientFacts) -> Box<dyn ClientDialogue> {
        Box::new(downstream::Downstream::new(facts))
    }

    fn provider(&self, upstream: Upstream) -> Box<dyn ProviderDialogue> {
        Box::new(upstream::Provider::new(upstream))
    }

    fn boundaries(&self) -> Box<dyn Boundaries> {
        Box::new(boundary::SmtpBoundaries::default())
    }

    fn farewell(&self, why: Farewell) -> Vec<u8> {
        reply::farewell(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_a_421_that_says_why() {
        assert!(Smtp.farewell(Farewell::Stopping).starts_with(b"421 4.3.2 "));
        assert!(Smtp.farewell(Farewell::TooSlow).starts_with(b"421 4.4.2 "));
        for why in [
            Farewell::Revoked,
            Farewell::NeedsConsent,
            Farewell::ContactAdmin,
            Farewell::Operator,
            Farewell::CutOff,
        ] {
            let said = Smtp.farewell(why);
            assert!(said.starts_with(b"421 4.7.0 ") && said.ends_with(b"\r\n"), "{why:?}");
        }
    }
}
