//! The key-encryption key: seals the keyring and nothing else.
//!
//! Never stored by the broker beyond the file that `init` writes; never printed. Invariant: one text form, one line
//! `tbkek1_` and 32 bytes in unpadded base64url. Next: `source` says where it comes from, `keyring` what it seals.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use hmac::Mac;
use thiserror::Error;
use zeroize::Zeroizing;

use super::key::{KEY_LEN, Key};
use super::xaes::Xaes256Gcm;
use crate::domain::secret::Secret;
use crate::entropy::Entropy;

const PREFIX: &str = "tbkek1_";
const ENCODED_LEN: usize = 43;
const ID_LEN: usize = 8;

/// The key that seals the keyring.
pub struct Kek {
    key: Key,
    id: String,
}

/// Why a text is not a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KekFormat {
    /// It begins with something else.
    #[error("a key begins with {PREFIX}, this text does not")]
    Prefix,
    /// Something was cut off or added.
    #[error("{PREFIX} is followed by {0} characters instead of {ENCODED_LEN}")]
    Length(usize),
    /// A character that base64url does not have.
    #[error("what follows {PREFIX} is not 32 bytes in unpadded base64url")]
    Encoding,
}

impl Kek {
    /// A new random key.
    pub fn generate(entropy: &Entropy) -> Self {
        Self::new(Key::fresh(entropy))
    }

    /// Reads the text form; white space around it (the end of the line) is ignored.
    ///
    /// # Errors
    /// [`KekFormat`], which never quotes the text.
    pub fn parse(text: &str) -> Result<Self, KekFormat> {
        let encoded = text.trim_ascii().strip_prefix(PREFIX).ok_or(KekFormat::Prefix)?;
        if encoded.len() != ENCODED_LEN {
            return Err(KekFormat::Length(encoded.len()));
        }
        // The decoder wants room for its estimate, which is a byte more than 43 characters hold.
        let mut bytes = Zeroizing::new([0; KEY_LEN + 1]);
        let len = URL_SAFE_NO_PAD
            .decode_slice(encoded, &mut bytes[..])
            .map_err(|_| KekFormat::Encoding)?;
        Key::from_slice(&bytes[..len]).map(Self::new).ok_or(KekFormat::Encoding)
    }

    /// The text form, without the end of the line.
    pub fn to_text(&self) -> Secret {
        let mut text = String::with_capacity(PREFIX.len() + ENCODED_LEN);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.key.bytes(), &mut text);
        Secret::new(text)
    }

    /// A short name of this key that tells nothing about it: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The cipher that seals the keyring of one instance.
    pub(super) fn cipher(&self, instance: &[u8; 16]) -> Xaes256Gcm {
        Xaes256Gcm::new(&self.key.derive(instance, "token-broker/1/keyring"))
    }

    fn new(key: Key) -> Self {
        let mut mac = key.hmac();
        mac.update(b"token-broker/1/kek-id");
        let id = HEXLOWER.encode(&mac.finalize().into_bytes()[..ID_LEN]);
        Self { key, id }
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_form() {
        let kek = Kek::generate(&Entropy::seeded(3));
        let text = kek.to_text();
        assert_eq!(text.len(), 50);
        assert_eq!(Kek::parse(text.expose()).unwrap().id(), kek.id());
        assert_eq!(Kek::parse(&format!("{}\n", text.expose())).unwrap().id(), kek.id());
    }

    #[test]
    fn a_key_prints_its_id_only() {
        let kek = Kek::generate(&Entropy::seeded(3));
        assert_eq!(format!("{kek:?}"), format!("Kek({})", kek.id()));
        assert_eq!(kek.id().len(), 16);
        assert_ne!(kek.id(), Kek::generate(&Entropy::seeded(4)).id());
        let hex = HEXLOWER.encode(kek.key.bytes());
        assert!(!hex.contains(kek.id()));
    }

    #[test]
    fn what_is_not_a_key_is_told_why() {
        let good = Kek::generate(&Entropy::seeded(3)).to_text();
        let good = good.expose();
        assert_eq!(Kek::parse("").unwrap_err(), KekFormat::Prefix);
        assert_eq!(Kek::parse(&good[7..]).unwrap_err(), KekFormat::Prefix);
        assert_eq!(Kek::parse(&good[..49]).unwrap_err(), KekFormat::Length(42));
        assert_eq!(Kek::parse(&format!("{good}A")).unwrap_err(), KekFormat::Length(44));
        assert_eq!(Kek::parse(&format!("{good}\n{good}")).unwrap_err(), KekFormat::Length(94));
        let padded = format!("{PREFIX}{}!", &good[7..49]);
        assert_eq!(Kek::parse(&padded).unwrap_err(), KekFormat::Encoding);
    }
}
