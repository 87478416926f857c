//! A checkpoint: where a chain of the audit stood at a time, to be signed and kept in a second place.
//!
//! Never says anything about a record. Invariant: two different checkpoints never give the same signed bytes. Next:
//! `seal/checkpoint.rs` signs, `witness.rs` keeps, `docs/audit.md` says how anybody checks one.

use super::chain::Point;
use crate::clock::Time;

/// What a line in the second place calls itself.
pub const FORMAT: &str = "token-broker/audit-checkpoint/1";

/// Where a chain stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The chain; empty for that of changes.
    pub chain: String,
    /// Its newest record then.
    pub point: Point,
    /// When.
    pub at: Time,
}

/// A checkpoint with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The instance that signed.
    pub instance: [u8; 16],
    /// Its Ed25519 public key.
    pub key: Vec<u8>,
    /// Ed25519 over [`signed_bytes`](Checkpoint::signed_bytes).
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// What the signature is over: six lines of text, each ended by a line break. No chain has one in its name.
    pub fn signed_bytes(&self, instance: &[u8; 16]) -> Vec<u8> {
        let Self { chain, point, at } = self;
        let chain: String = chain.chars().filter(|c| !c.is_control()).collect();
        let (instance, hash) = (hex(instance), hex(&point.hash));
        let lines = [
            FORMAT,
            &instance,
            &chain,
            &point.sequence.to_string(),
            &hash,
            &at.millis().to_string(),
        ];
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_text_that_anybody_can_write() {
        let point = Point { sequence: 7, hash: vec![0xab, 1] };
        let checkpoint = Checkpoint { chain: "one".into(), point, at: Time::from_millis(1234) };
        let bytes = checkpoint.signed_bytes(&[1; 16]);
        let instance = "01".repeat(16);
        let text = format!("token-broker/audit-checkpoint/1\n{instance}\none\n7\nab01\n1234\n");
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}
