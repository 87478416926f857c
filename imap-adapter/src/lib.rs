//! The words of IMAP in front of an OAuth mailbox: an ordinary login here, XOAUTH2 or OAUTHBEARER there.
//!
//! Never touches a socket; after the login it looks on, to know where a response ends, and no more. Invariant: everything a peer can send before the login is
//! bounded (see `inbox`). Next: `downstream` for the client's side, `upstream` for the provider's; `adapter_core::run` moves.

mod boundary;
mod capability;
mod command;
mod downstream;
mod inbox;
mod literal;
mod refusal;
mod reply;
mod response;
mod upstream;

use adapter_core::boundary::Boundaries;
use adapter_core::dialogue::{
    ClientDialogue, ClientFacts, Farewell, Protocol, ProviderDialogue, Upstream,
};

pub use downstream::Downstream;
pub use upstream::UpstreamLogin;

/// IMAP4rev1 (RFC 3501) up to the login; whatever both ends agree on after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Imap;

impl Protocol for Imap {
    const NAME: &'static str = "imap";

    fn client(&self, facts: ClientFacts) -> Box<dyn ClientDialogue> {
        Box::new(Downstream::new(facts))
    }

    fn provider(&self, upstream: Upstream) -> Box<dyn ProviderDialogue> {
        Box::new(UpstreamLogin::new(upstream))
    }

    fn boundaries(&self) -> Box<dyn Boundaries> {
        Box::new(boundary::ImapBoundaries::default())
    }

    fn farewell(&self, why: Farewell) -> Vec<u8> {
        reply::farewell(why)
    }
}
