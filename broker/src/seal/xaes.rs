//! XAES-256-GCM: AES-256-GCM with a 24-byte nonce that may be random (<https://c2sp.org/XAES-256-GCM>).
//!
//! AES-GCM's own 12-byte nonce allows 2^32 random messages per key, which a busy broker uses up in weeks; this one
//! allows 2^80. Each message gets a key of its own, derived from the first half of the nonce by NIST SP 800-108r1 in
//! counter mode with CMAC-AES256; the second half is the nonce of AES-256-GCM. The message of the CMAC is one block,
//! so the PRF is a single AES call on the block XOR the CMAC subkey `K1`.
//!
//! Never chooses a nonce. Invariant: nothing decrypted leaves before its tag was checked. Next: `envelope`.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::{Aes256Gcm, Error};
use zeroize::Zeroizing;

use super::key::{KEY_LEN, Key};

/// Length of a nonce in bytes.
pub(super) const NONCE_LEN: usize = 24;
/// Length of the tag behind a ciphertext in bytes.
pub(super) const TAG_LEN: usize = 16;

const BLOCK_LEN: usize = 16;
const HALF_NONCE: usize = NONCE_LEN / 2;
/// The label of the key derivation: the ASCII letter `X`.
const LABEL: u8 = b'X';

/// A cipher under one key; the CMAC subkey is computed once.
pub(super) struct Xaes256Gcm {
    block: Aes256,
    k1: Zeroizing<[u8; BLOCK_LEN]>,
}

impl Xaes256Gcm {
    /// The cipher under `key`.
    pub(super) fn new(key: &Key) -> Self {
        let block = Aes256::new(key.bytes().into());
        let mut k1 = Zeroizing::new([0; BLOCK_LEN]);
        block.encrypt_block((&mut *k1).into());
        *k1 = double(*k1);
        Self { block, k1 }
    }

    /// Encrypts `plain` at the end of `out`, which should have room for it and 16 bytes more.
    ///
    /// # Errors
    /// If `plain` is longer than AES-GCM can take (64 GiB).
    pub(super) fn seal_into(
        &self,
        out: &mut Vec<u8>,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        plain: &[u8],
    ) -> Result<(), Error> {
        let start = out.len();
        out.reserve(plain.len() + TAG_LEN);
        out.extend_from_slice(plain);
        let (cipher, rest) = self.message_cipher(nonce);
        let tag = cipher.encrypt_inout_detached(
            (&rest).into(),
            associated,
            (&mut out[start..]).into(),
        )?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Checks and decrypts a ciphertext with its tag behind it.
    ///
    /// # Errors
    /// If key, nonce, associated data or any byte is not the one it was sealed with.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Error)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let (cipher, rest) = self.message_cipher(nonce);
        cipher.decrypt_inout_detached(
            (&rest).into(),
            associated,
            plain.as_mut_slice().into(),
            tag.into(),
        )?;
        Ok(plain)
    }

    fn message_cipher(&self, nonce: &[u8; NONCE_LEN]) -> (Aes256Gcm, [u8; HALF_NONCE]) {
        let mut rest = [0; HALF_NONCE];
        rest.copy_from_slice(&nonce[HALF_NONCE..]);
        (Aes256Gcm::new((&*self.message_key(nonce)).into()), rest)
    }

    /// Steps 3 to 5 of the specification: `AES(M1 ^ K1) || AES(M2 ^ K1)`.
    fn message_key(&self, nonce: &[u8; NONCE_LEN]) -> Zeroizing<[u8; KEY_LEN]> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        for (counter, half) in (1..).zip(key.as_chunks_mut::<BLOCK_LEN>().0) {
            half[..4].copy_from_slice(&[0, counter, LABEL, 0]);
            half[4..].copy_from_slice(&nonce[..HALF_NONCE]);
            for (byte, subkey) in half.iter_mut().zip(self.k1.iter()) {
                *byte ^= subkey;
            }
            self.block.encrypt_block(half.into());
        }
        key
    }
}

/// Doubling in GF(2^128) without a branch on the secret bit (NIST SP 800-38B, 6.1).
fn double(block: [u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
    let l = u128::from_be_bytes(block);
    ((l << 1) ^ ((l >> 127) * 0x87)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use shake::Shake128;
    use shake::digest::{ExtendableOutput, Update, XofReader};

    use super::*;

    const NONCE: &[u8; NONCE_LEN] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

    fn cipher(key: [u8; KEY_LEN]) -> Xaes256Gcm {
        Xaes256Gcm::new(&Key::from_slice(&key).unwrap())
    }

    fn seal(cipher: &Xaes256Gcm, nonce: &[u8; NONCE_LEN], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        cipher.seal_into(&mut out, nonce, aad, plain).unwrap();
        out
    }

    #[test]
    fn the_first_published_vector_holds_at_every_step() {
        let cipher = cipher([1; 32]);
        assert_eq!(HEXLOWER.encode(&*cipher.k1), "e531954aca063d5b8d9c47a47d4cc6f0");
        assert_eq!(
            HEXLOWER.encode(&*cipher.message_key(NONCE)),
            "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b"
        );
        let sealed = seal(&cipher, NONCE, b"", b"XAES-256-GCM");
        assert_eq!(
            HEXLOWER.encode(&sealed),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
        );
        assert_eq!(*cipher.open(NONCE, b"", &sealed).unwrap(), b"XAES-256-GCM");
    }

    #[test]
    fn the_second_published_vector_carries_in_the_doubling() {
        let cipher = cipher([3; 32]);
        assert_eq!(HEXLOWER.encode(&*cipher.k1), "23810ec50edb99f374409466ed1f4b7b");
        let sealed = seal(&cipher, NONCE, b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM");
        assert_eq!(
            HEXLOWER.encode(&sealed),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
        );
        assert_eq!(
            *cipher.open(NONCE, b"c2sp.org/XAES-256-GCM", &sealed).unwrap(),
            b"XAES-256-GCM"
        );
    }

    /// The accumulated test of the specification: SHAKE-128 of nothing gives the inputs, a second one takes the
    /// outputs.
    fn accumulated(rounds: usize) -> String {
        fn take<const N: usize>(source: &mut impl XofReader) -> [u8; N] {
            let mut out = [0; N];
            source.read(&mut out);
            out
        }
        fn take_some(source: &mut impl XofReader) -> Vec<u8> {
            let [len] = take(source);
            let mut out = vec![0; usize::from(len)];
            source.read(&mut out);
            out
        }
        let mut source = Shake128::default().finalize_xof();
        let mut seen = Shake128::default();
        for _ in 0..rounds {
            let cipher = cipher(take(&mut source));
            let nonce = take(&mut source);
            let plain = take_some(&mut source);
            let aad = take_some(&mut source);
            let sealed = seal(&cipher, &nonce, &aad, &plain);
            assert_eq!(*cipher.open(&nonce, &aad, &sealed).unwrap(), plain);
            seen.update(&sealed);
        }
        HEXLOWER.encode(&take::<32>(&mut seen.finalize_xof()))
    }

    #[test]
    fn t6_ten_thousand_random_messages_agree_with_the_specification() {
        assert_eq!(
            accumulated(10_000),
            "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
        );
    }

    #[test]
    #[ignore = "some minutes without optimisation; run with --ignored"]
    fn t6_a_million_random_messages_agree_with_the_specification() {
        assert_eq!(
            accumulated(1_000_000),
            "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"
        );
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let cipher = cipher([9; 32]);
        let sealed = seal(&cipher, NONCE, b"here", b"1//refresh");
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(cipher.open(NONCE, b"here", &forged).is_err(), "bit {bit}");
        }
        assert!(cipher.open(NONCE, b"there", &sealed).is_err());
        assert!(cipher.open(NONCE, b"here", &sealed[..TAG_LEN - 1]).is_err());
    }
}
