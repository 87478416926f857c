//! The bytes of a sealed value: `version(1) alg(1) key_term(4, big-endian) nonce(24) ciphertext tag(16)`.
//!
//! Never guesses: a version or algorithm that is not known here is an error that names it. Invariant: what is known
//! about a value before decrypting it is exactly its header. Next: `xaes` for the cipher, `sealer` for the keys.

use zeroize::Zeroizing;

use super::error::SealError;
use super::xaes::{NONCE_LEN, TAG_LEN, Xaes256Gcm};
use crate::domain::secret::Sealed;
use crate::entropy::Entropy;

/// The most that is sealed as one value, in bytes: far more than a token, an app secret or a key file has.
pub(super) const MAX_PLAIN: usize = 1 << 20;

const VERSION: u8 = 1;
const XAES_256_GCM: u8 = 1;
const TERM_LEN: usize = 4;
const HEADER_LEN: usize = 2 + TERM_LEN + NONCE_LEN;

/// A sealed value taken apart; nothing of it is verified yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    term: u32,
    nonce: &'a [u8; NONCE_LEN],
    body: &'a [u8],
}

/// Seals `plain` under the key of `term`, with a new random nonce.
///
/// # Errors
/// [`SealError::TooLong`] beyond [`MAX_PLAIN`].
pub(super) fn seal(
    cipher: &Xaes256Gcm,
    term: u32,
    entropy: &Entropy,
    associated: &[u8],
    plain: &[u8],
) -> Result<Sealed, SealError> {
    if plain.len() > MAX_PLAIN {
        return Err(SealError::TooLong(plain.len()));
    }
    let nonce = entropy.bytes::<NONCE_LEN>();
    let mut out = Vec::with_capacity(HEADER_LEN + plain.len() + TAG_LEN);
    out.extend_from_slice(&[VERSION, XAES_256_GCM]);
    out.extend_from_slice(&term.to_be_bytes());
    out.extend_from_slice(&nonce);
    cipher
        .seal_into(&mut out, &nonce, associated, plain)
        .map_err(|_| SealError::TooLong(plain.len()))?;
    Ok(Sealed::from_bytes(out))
}

impl<'a> Envelope<'a> {
    /// Takes a stored value apart.
    ///
    /// # Errors
    /// [`SealError::UnknownVersion`], [`SealError::UnknownAlgorithm`] or [`SealError::Truncated`].
    pub(super) fn parse(sealed: &'a Sealed) -> Result<Self, SealError> {
        let bytes = sealed.as_bytes();
        let truncated = SealError::Truncated(bytes.len());
        match bytes {
            [] => return Err(truncated),
            [VERSION] | [VERSION, XAES_256_GCM, ..] => {}
            [VERSION, algorithm, ..] => return Err(SealError::UnknownAlgorithm(*algorithm)),
            [version, ..] => return Err(SealError::UnknownVersion(*version)),
        }
        let Some((term, rest)) = bytes.get(2..).and_then(<[u8]>::split_first_chunk::<TERM_LEN>)
        else {
            return Err(truncated);
        };
        match rest.split_first_chunk::<NONCE_LEN>() {
            Some((nonce, body)) if body.len() >= TAG_LEN => {
                Ok(Self { term: u32::from_be_bytes(*term), nonce, body })
            }
            _ => Err(truncated),
        }
    }

    /// The term of the key it says it was sealed with.
    pub(super) const fn term(&self) -> u32 {
        self.term
    }

    /// Checks and decrypts it.
    ///
    /// # Errors
    /// [`SealError::Integrity`] if it was not sealed by this key for this associated data.
    pub(super) fn open(
        &self,
        cipher: &Xaes256Gcm,
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        cipher.open(self.nonce, associated, self.body).map_err(|_| SealError::Integrity)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

    fn cipher() -> Xaes256Gcm {
        Xaes256Gcm::new(&Key::from_slice(&[5; 32]).unwrap())
    }

    fn sealed(plain: &[u8]) -> Sealed {
        seal(&cipher(), 0x0102_0304, &Entropy::seeded(1), b"", plain).unwrap()
    }

    #[test]
    fn the_bytes_are_the_published_format() {
        let bytes = sealed(b"secret").into_bytes();
        assert_eq!(bytes.len(), 1 + 1 + 4 + 24 + 6 + 16);
        assert_eq!(bytes[..6], [1, 1, 1, 2, 3, 4]);
        assert_eq!(bytes[6..30], Entropy::seeded(1).bytes::<24>());
        let nonce = bytes[6..30].try_into().unwrap();
        assert_eq!(*cipher().open(&nonce, b"", &bytes[30..]).unwrap(), b"secret");
    }

    #[test]
    fn an_unknown_version_or_algorithm_is_named() {
        let good = sealed(b"secret").into_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Envelope::parse(&Sealed::from_bytes(bytes)).unwrap_err()
        };
        assert_eq!(with(0, 2), SealError::UnknownVersion(2));
        assert_eq!(with(0, 0), SealError::UnknownVersion(0));
        assert_eq!(with(1, 9), SealError::UnknownAlgorithm(9));
    }

    #[test]
    fn every_cut_is_noticed() {
        let good = sealed(b"").into_bytes();
        for len in 0..good.len() {
            let cut = Sealed::from_bytes(good[..len].to_vec());
            assert_eq!(Envelope::parse(&cut).unwrap_err(), SealError::Truncated(len));
        }
        let whole = Sealed::from_bytes(good);
        assert_eq!(Envelope::parse(&whole).unwrap().open(&cipher(), b"").unwrap().len(), 0);
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let error =
            seal(&cipher(), 1, &Entropy::seeded(1), b"", &vec![0; MAX_PLAIN + 1]).unwrap_err();
        assert_eq!(error, SealError::TooLong(MAX_PLAIN + 1));
        assert!(seal(&cipher(), 1, &Entropy::seeded(1), b"", &vec![0; MAX_PLAIN]).is_ok());
    }
}
