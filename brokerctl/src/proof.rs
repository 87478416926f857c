//! Proves the audit on this machine, by nothing but the records: hashes recomputed here, signatures checked here.
//!
//! Never asks a broker whether it is right. Invariant: the form of a hash and of a signed text are those of `docs/audit.md`,
//! written a second time, so that a mistake of the broker's own shows. Next: `record` has the hash, `inspector` goes along
//! the chains, `checkpoints` reads the second place; `commands::audit_verify` uses them.

pub(crate) mod checkpoints;
pub(crate) mod inspector;
pub(crate) mod record;

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    let digit = |at: u8| char::from(at).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    text.len().is_multiple_of(2).then(|| text.chunks(2).map(pair).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_the_bytes_they_were() {
        assert_eq!(unhex(&hex(&[0, 0xab, 255])), Some(vec![0, 0xab, 255]));
        assert_eq!((unhex("abc"), unhex("zz"), unhex("")), (None, None, Some(vec![])));
    }
}
