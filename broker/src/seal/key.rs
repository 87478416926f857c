//! A key: 32 secret bytes, wiped when dropped.
//!
//! Never copied, printed or compared. Invariant: the bytes stay in one heap allocation, so moving a key leaves no copy
//! behind. Next: `xaes` and `tag` use keys, `kek` and `keyring` own them.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::entropy::Entropy;

/// Length of every key in this room, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// 32 secret bytes.
pub(super) struct Key(Box<Zeroizing<[u8; KEY_LEN]>>);

impl Key {
    /// A new random key.
    pub(super) fn fresh(entropy: &Entropy) -> Self {
        let mut key = Self::empty();
        entropy.fill(&mut key.0[..]);
        key
    }

    /// Takes a copy of exactly 32 bytes.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::empty();
        if bytes.len() != KEY_LEN {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The key for one purpose and no other: HKDF-SHA256 (RFC 5869) with `instance` as salt and `purpose` as info.
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8160 bytes, 32 are asked for")]
    pub(super) fn derive(&self, instance: &[u8], purpose: &str) -> Self {
        let mut derived = Self::empty();
        Hkdf::<Sha256>::new(Some(instance), self.bytes())
            .expand(purpose.as_bytes(), &mut derived.0[..])
            .expect("32 bytes are below the limit");
        derived
    }

    /// An HMAC-SHA256 under this key, with nothing in it yet.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(super) fn hmac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.bytes()).expect("a key of any length")
    }

    /// The bytes, for a cipher or to be sealed.
    pub(super) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    fn empty() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_LEN])))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_instances_do_not_share_a_key() {
        let root = Key::from_slice(&[7; 32]).unwrap();
        let here = root.derive(&[1; 16], "seal");
        assert_eq!(here.bytes(), root.derive(&[1; 16], "seal").bytes());
        assert_ne!(here.bytes(), root.derive(&[1; 16], "rights-mac").bytes());
        assert_ne!(here.bytes(), root.derive(&[2; 16], "seal").bytes());
    }

    #[test]
    fn a_key_is_32_bytes_and_does_not_print() {
        assert!(Key::from_slice(&[0; 31]).is_none());
        assert!(Key::from_slice(&[0; 33]).is_none());
        assert_eq!(format!("{:?}", Key::fresh(&Entropy::seeded(1))), "[key]");
    }
}
