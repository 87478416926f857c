//! Generated secrets that people and programs present: `tb_<12 id>_<26 secret>_<2 check>` for mail logins, `tbk_...`
//! for API keys.
//!
//! The alphabet is Crockford's base 32 in lower case: it has no `i`, `l`, `o`, so what is read off paper and typed
//! into a printer is not ambiguous, and those letters are read as the digits they were mistaken for. The secret is 130
//! random bits, which nobody guesses, so a fast keyed hash is enough and the row is found by the public id.
//!
//! Never stored or printed in clear after it was shown once. Invariant: two texts that parse to the same credential
//! differ at most in case and in look-alikes; an unknown id costs as much as a wrong secret. Next: `tag`.

use std::fmt;
use std::hint::black_box;

use hmac::Mac;
use thiserror::Error;
use zeroize::Zeroizing;

use super::error::SealError;
use super::key::Key;
use super::keyring::TermKeys;
use super::outgrown::Outgrown;
use super::sealer::Sealer;
use super::tag::{TAG_LEN, Tag};
use crate::domain::secret::Secret;
use crate::entropy::Entropy;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SEPARATOR: u8 = b'_';
const ID_LEN: usize = 12;
const SECRET_LEN: usize = 26;
const CHECK_LEN: usize = 2;
const BODY_LEN: usize = ID_LEN + 1 + SECRET_LEN + 1 + CHECK_LEN;
/// The greatest prime below 32 * 32.
const CHECK_MODULUS: u32 = 1021;

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A mail login at an adapter, `tb_`.
    Proxy,
    /// A caller of the API, `tbk_`.
    ApiKey,
}

/// The public half of a credential: finds its row, proves nothing. Twelve symbols, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKeyId(String);

/// A credential that was made just now.
#[derive(Debug)]
pub struct Generated {
    /// The public half, to be stored.
    pub id: CredentialKeyId,
    /// The secret half, for [`Sealer::hash`] and then to be dropped.
    pub secret: Secret,
    /// The whole text, to be shown once and never stored.
    pub shown: Secret,
}

/// A credential that somebody presented, well formed and otherwise unproven.
#[derive(Debug)]
pub struct Presented {
    /// What it says it is for.
    pub kind: Kind,
    /// The public half.
    pub id: CredentialKeyId,
    /// The secret half.
    pub secret: Secret,
}

/// Why a text is not a credential. The presenter's fault; known without asking the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It begins with neither `tb_` nor `tbk_`: another password, most likely.
    #[error("not a credential of this broker")]
    Prefix,
    /// Something was cut off or added.
    #[error("a credential that was cut short or has too much")]
    Length,
    /// A character is not of the alphabet, or a separator is missing.
    #[error("a credential with a character that none has")]
    Symbol,
    /// Every character is possible, but the check does not fit: a typing error, not a wrong secret.
    #[error("a credential with a typing error")]
    Check,
}

/// What is stored of the secret half: `term(4) || HMAC-SHA256(32)`.
#[derive(Clone, Copy)]
pub struct KeyedHash(Tag);

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Proxy => "tb_",
            Self::ApiKey => "tbk_",
        }
    }

    /// Starts the check sum, so that a credential with the other kind's prefix is noticed too.
    const fn check_seed(self) -> u32 {
        match self {
            Self::Proxy => 1,
            Self::ApiKey => 2,
        }
    }

    fn strip(text: &str) -> Option<(Self, &[u8])> {
        [Self::Proxy, Self::ApiKey].into_iter().find_map(|kind| {
            let (head, body) = text.as_bytes().split_at_checked(kind.prefix().len())?;
            head.eq_ignore_ascii_case(kind.prefix().as_bytes()).then_some((kind, body))
        })
    }
}

impl CredentialKeyId {
    /// The twelve symbols.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Generated {
    /// Makes a credential: 60 random bits of id, 130 of secret.
    pub fn new(kind: Kind, entropy: &Entropy) -> Self {
        let id = random_symbols::<ID_LEN>(entropy);
        let secret = random_symbols::<SECRET_LEN>(entropy);
        let check = check_of(kind, &id, &secret);
        let mut shown = String::with_capacity(kind.prefix().len() + BODY_LEN);
        shown.push_str(kind.prefix());
        push(&mut shown, &*id);
        shown.push(char::from(SEPARATOR));
        push(&mut shown, &*secret);
        shown.push(char::from(SEPARATOR));
        push(&mut shown, &check);
        Self {
            id: CredentialKeyId(text_of(&*id)),
            secret: text_of(&*secret).into(),
            shown: shown.into(),
        }
    }
}

/// Reads a presented credential, in lower or upper case. Touches no store: a typing error is told from a wrong secret
/// here.
///
/// # Errors
/// [`Malformed`], which never quotes the text.
pub fn parse(text: &str) -> Result<Presented, Malformed> {
    let (kind, body) = Kind::strip(text).ok_or(Malformed::Prefix)?;
    if body.len() != BODY_LEN {
        return Err(Malformed::Length);
    }
    let (id, rest) = body.split_at(ID_LEN);
    let (secret, check) = rest.split_at(1 + SECRET_LEN);
    let id = symbols::<ID_LEN>(id)?;
    let secret = symbols::<SECRET_LEN>(after_separator(secret)?)?;
    let check = symbols::<CHECK_LEN>(after_separator(check)?)?;
    if *check != check_of(kind, &id, &secret) {
        return Err(Malformed::Check);
    }
    Ok(Presented { kind, id: CredentialKeyId(text_of(&*id)), secret: text_of(&*secret).into() })
}

impl KeyedHash {
    /// A stored hash.
    ///
    /// # Errors
    /// [`SealError::TagLength`] if it is not 36 bytes long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        Tag::from_bytes(bytes).map(Self)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; TAG_LEN] {
        self.0.as_bytes()
    }

    /// The term of the key it says it was made with.
    pub const fn term(&self) -> u32 {
        self.0.term()
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyedHash(term {})", self.term())
    }
}

impl Sealer {
    /// What to store of a secret, under the active term.
    pub fn hash(&self, kind: Kind, id: &CredentialKeyId, secret: &Secret) -> KeyedHash {
        keyed_hash(self.keyring().active(), kind, id, secret)
    }

    /// Whether a presented credential is the stored one, in constant time. After a match under an old term a new hash
    /// waits in [`take_outgrown`](Self::take_outgrown): only now is the secret at hand.
    ///
    /// # Errors
    /// [`SealError::UnknownTerm`] or [`SealError::NewerTerm`] if the key of the stored hash is not in the keyring.
    pub fn matches(&self, presented: &Presented, stored: &KeyedHash) -> Result<bool, SealError> {
        let keyring = self.keyring();
        let keys = keyring.term(stored.term())?;
        let found = keyed_hash(keys, presented.kind, &presented.id, &presented.secret);
        let matches = bool::from(found.0.same(&stored.0));
        if matches && keys.number != keyring.active_term() {
            let Presented { kind, id, secret } = presented;
            let new = self.hash(*kind, id, secret);
            self.note_outgrown(Outgrown { kind: *kind, id: id.clone(), old: *stored, new });
        }
        Ok(matches)
    }

    /// A hash under the active term that no secret has: for what can never be used again, so that it needs no old key.
    pub fn impossible_hash(&self) -> KeyedHash {
        let mut bytes = [0; TAG_LEN];
        let (head, code) = bytes.split_at_mut(4);
        head.copy_from_slice(&self.active_term().to_be_bytes());
        self.entropy().fill(code);
        KeyedHash(Tag::of(bytes))
    }

    /// The work of [`matches`](Self::matches) for an id that is not in the store, so that it takes as long.
    pub fn dummy_check(&self, presented: &Presented) {
        let term = self.active_term().to_be_bytes();
        let mut bytes = [0; TAG_LEN];
        bytes[..term.len()].copy_from_slice(&term);
        let _ =
            black_box(Tag::from_bytes(&bytes).map(|tag| self.matches(presented, &KeyedHash(tag))));
    }
}

fn keyed_hash(keys: &TermKeys, kind: Kind, id: &CredentialKeyId, secret: &Secret) -> KeyedHash {
    let key: &Key = match kind {
        Kind::Proxy => &keys.credentials,
        Kind::ApiKey => &keys.api_keys,
    };
    let mut mac = key.hmac();
    // The id has one length, so no border between the two can move.
    mac.update(id.as_str().as_bytes());
    mac.update(secret.expose().as_bytes());
    KeyedHash(Tag::new(keys.number, mac))
}

/// `N` values below 32, wiped when dropped.
type Symbols<const N: usize> = Zeroizing<[u8; N]>;

fn random_symbols<const N: usize>(entropy: &Entropy) -> Symbols<N> {
    let mut values = Zeroizing::new([0; N]);
    entropy.fill(&mut values[..]);
    // 256 is a multiple of 32: five bits of a random byte are even.
    values.iter_mut().for_each(|value| *value %= 32);
    values
}

fn symbols<const N: usize>(text: &[u8]) -> Result<Symbols<N>, Malformed> {
    let mut values = Zeroizing::new([0; N]);
    for (value, symbol) in values.iter_mut().zip(text) {
        *value = value_of(*symbol).ok_or(Malformed::Symbol)?;
    }
    Ok(values)
}

fn value_of(symbol: u8) -> Option<u8> {
    let symbol = match symbol.to_ascii_lowercase() {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    };
    (0..32).find(|value| ALPHABET[usize::from(*value)] == symbol)
}

fn after_separator(text: &[u8]) -> Result<&[u8], Malformed> {
    text.strip_prefix(&[SEPARATOR]).ok_or(Malformed::Symbol)
}

fn push(text: &mut String, values: &[u8]) {
    text.extend(values.iter().map(|value| char::from(ALPHABET[usize::from(value % 32)])));
}

fn text_of(values: &[u8]) -> String {
    let mut text = String::with_capacity(values.len());
    push(&mut text, values);
    text
}

/// Id and secret as one number in base 32, modulo a prime: notices every single wrong symbol, every two symbols
/// swapped, and of anything else all but one in 1021.
fn check_of(kind: Kind, id: &Symbols<ID_LEN>, secret: &Symbols<SECRET_LEN>) -> [u8; CHECK_LEN] {
    let sum = id
        .iter()
        .chain(secret.iter())
        .fold(kind.check_seed(), |sum, value| (sum * 32 + u32::from(*value)) % CHECK_MODULUS);
    [(sum / 32) as u8, (sum % 32) as u8]
}

#[cfg(test)]
mod tests;
