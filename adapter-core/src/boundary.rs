//! Where in a relayed conversation the adapter may say a word of its own.
//!
//! Never changes what is relayed; it only looks on. Invariant: in doubt the answer is no, and then a session that has to end is
//! closed without a word. Next: `relay` feeds it, the adapters' `boundary` files know their protocol.

/// Follows a relayed conversation.
pub trait Boundaries: Send {
    /// The server was sent these bytes.
    fn to_server(&mut self, bytes: &[u8]);

    /// The client was sent these bytes.
    fn to_client(&mut self, bytes: &[u8]);

    /// Whether the client has got whole answers only, so that one more of ours would be understood.
    fn is_free(&self) -> bool;
}
