//! The one encoding of everything that is authenticated: parts, each behind its length.
//!
//! Never decoded again, so it needs no escape and no order beyond that of the calls. Invariant: two different lists of
//! parts never give the same bytes. Next: `place` and `rights` say which parts.

/// Bytes made of length-prefixed parts.
#[derive(Clone)]
pub(crate) struct Parts(Vec<u8>);

impl Parts {
    /// Begins with the name of the format, so that no two uses can be taken for each other.
    pub(crate) fn new(format: &str) -> Self {
        Self::with_room(format, 128)
    }

    /// The same, with room for so many bytes before it has to grow.
    pub(crate) fn with_room(format: &str, bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes)).with(format.as_bytes())
    }

    /// Adds one part: its length in bytes as 8 bytes, big-endian, then the bytes.
    pub(crate) fn with(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// The bytes so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(parts: &[Vec<u8>]) -> Vec<u8> {
        parts.iter().fold(Parts::new("test"), |all, part| all.with(part)).0
    }

    #[test]
    fn moving_a_border_is_a_different_text() {
        assert_ne!(
            encode(&[b"ab".to_vec(), b"c".to_vec()]),
            encode(&[b"a".to_vec(), b"bc".to_vec()])
        );
        assert_ne!(encode(&[]), encode(&[vec![]]));
    }

    proptest! {
        #[test]
        fn different_lists_give_different_bytes(
            one in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..4), 0..4),
            two in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..4), 0..4),
        ) {
            prop_assert_eq!(one == two, encode(&one) == encode(&two));
        }
    }
}
