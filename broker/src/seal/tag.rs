//! A keyed tag: `term(4, big-endian) || HMAC-SHA256(32)`, the shape of rights MACs and of credential hashes.
//!
//! Never says which bytes differ. Invariant: tags are compared in constant time. Next: `rights` and `credential` say
//! what is tagged.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::error::SealError;

/// Length of a stored tag in bytes.
pub(super) const TAG_LEN: usize = 36;

/// A code and the term of the key that made it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag([u8; TAG_LEN]);

impl Tag {
    /// The tag over what `mac` was fed.
    pub(super) fn new(term: u32, mac: Hmac<Sha256>) -> Self {
        let mut bytes = [0; TAG_LEN];
        let (head, code) = bytes.split_at_mut(4);
        head.copy_from_slice(&term.to_be_bytes());
        code.copy_from_slice(&mac.finalize().into_bytes());
        Self(bytes)
    }

    /// These bytes, whatever they are.
    pub(super) const fn of(bytes: [u8; TAG_LEN]) -> Self {
        Self(bytes)
    }

    /// A stored tag.
    ///
    /// # Errors
    /// [`SealError::TagLength`] if it is not 36 bytes long.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self).map_err(|_| SealError::TagLength(bytes.len()))
    }

    /// The term of the key it says it was made with.
    pub(super) const fn term(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The bytes to store.
    pub(super) const fn as_bytes(&self) -> &[u8; TAG_LEN] {
        &self.0
    }

    /// Whether both are the same, in constant time.
    pub(super) fn same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}
