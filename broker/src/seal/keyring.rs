//! The keys of this instance, one per term, and their form at rest: each sealed by the key-encryption key.
//!
//! Never leaves with a key in clear and knows no table: it takes and gives rows. Invariant: exactly one term is active;
//! it is the newest but for one that may be pending, which brokers learn to open before anybody seals under it. What a
//! term is, is authenticated with its key, so that a database writer cannot make us seal under an old one. A change of
//! the key-encryption key rewrites these rows and nothing else. Next: `sealer` uses the keys.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::envelope::{self, Envelope};
use super::error::SealError;
use super::kek::Kek;
use super::key::Key;
use super::place::Place;
use super::xaes::Xaes256Gcm;
use crate::domain::secret::Sealed;
use crate::entropy::Entropy;

/// The term in the envelope of a term key: it is sealed by the key-encryption key, which has none.
const KEK_TERM: u32 = 0;
const FIRST_TERM: u32 = 1;

/// A row of the stored keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedTerm {
    /// The term's number, from 1.
    pub term: u32,
    /// Its key, sealed by the key-encryption key.
    pub sealed: Sealed,
    /// Which key-encryption key: [`Kek::id`].
    pub kek_id: String,
    /// Whether new values are sealed under it. Authenticated with the key: editing it makes the row unopenable.
    pub active: bool,
}

/// The open keyring. Cheap to clone; the keys are shared and wiped with the last clone.
#[derive(Clone)]
pub struct Keyring {
    instance: [u8; 16],
    active: Arc<TermKeys>,
    terms: BTreeMap<u32, Arc<TermKeys>>,
}

/// The keys of one term, one per purpose.
pub(super) struct TermKeys {
    pub(super) number: u32,
    pub(super) values: Xaes256Gcm,
    pub(super) rights: Key,
    pub(super) credentials: Key,
    pub(super) api_keys: Key,
    pub(super) checkpoints: Key,
    root: Key,
}

/// Why the keyring cannot be used. Every case is the operator's or the store's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// There is no row.
    #[error("the keyring is empty: this instance was not initialised")]
    Empty,
    /// The rows were sealed by another key-encryption key.
    #[error("key term {term} is sealed by key {sealed_by}, but key {given} was given")]
    OtherKek {
        /// The term.
        term: u32,
        /// The id in its row.
        sealed_by: String,
        /// The id of the key at hand.
        given: String,
    },
    /// The row was changed, belongs to another instance or is not in a known format.
    #[error("key term {term} cannot be opened: {why}")]
    Unopenable {
        /// The term.
        term: u32,
        /// What the envelope said.
        why: SealError,
    },
    /// The same term twice, or number 0.
    #[error("key term {0} is not a term number, or is there twice")]
    Number(u32),
    /// No row is active, two are, or more than one is newer: a row is missing or an old one was put back.
    #[error("one key term must be active, and at most one newer; a row is missing or out of date")]
    Active,
    /// The term is not there, or is active and must stay.
    #[error("key term {0} is unknown or active and cannot be removed")]
    NotRemovable(u32),
    /// All 2^32 - 1 numbers are used.
    #[error("no further key terms")]
    Exhausted,
    /// There is one that is not in use yet, or none.
    #[error("the newest key term is {0}")]
    Pending(&'static str),
}

impl Keyring {
    /// A new keyring with one term, and its rows.
    pub fn create(kek: &Kek, instance: [u8; 16], entropy: &Entropy) -> (Self, Vec<SealedTerm>) {
        let keys = Arc::new(TermKeys::new(FIRST_TERM, Key::fresh(entropy), &instance));
        let terms = BTreeMap::from([(FIRST_TERM, Arc::clone(&keys))]);
        let ring = Self { instance, active: keys, terms };
        let rows = ring.rewrap(kek, entropy);
        (ring, rows)
    }

    /// Opens the stored rows.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing is opened in part.
    pub fn open(
        kek: &Kek,
        instance: [u8; 16],
        rows: Vec<SealedTerm>,
    ) -> Result<Self, KeyringError> {
        if rows.is_empty() {
            return Err(KeyringError::Empty);
        }
        if let Some(row) = rows.iter().find(|row| row.term < FIRST_TERM) {
            return Err(KeyringError::Number(row.term));
        }
        let mut flagged = rows.iter().filter(|row| row.active).map(|row| row.term);
        let (Some(number), None) = (flagged.next(), flagged.next()) else {
            return Err(KeyringError::Active);
        };
        let cipher = kek.cipher(&instance);
        let mut terms = BTreeMap::new();
        for row in &rows {
            let keys = Arc::new(TermKeys::open(kek, &cipher, &instance, (row, number))?);
            if terms.insert(row.term, keys).is_some() {
                return Err(KeyringError::Number(row.term));
            }
        }
        let newer = terms.keys().filter(|term| **term > number).count();
        let active = terms.get(&number).filter(|_| newer <= 1).ok_or(KeyringError::Active)?;
        Ok(Self { instance, active: Arc::clone(active), terms })
    }

    /// All rows sealed anew, by `kek`: they replace the stored ones in one transaction. Nothing else changes.
    pub fn rewrap(&self, kek: &Kek, entropy: &Entropy) -> Vec<SealedTerm> {
        let cipher = kek.cipher(&self.instance);
        let row = |keys: &Arc<TermKeys>| SealedTerm {
            term: keys.number,
            sealed: keys.seal(&cipher, &self.instance, self.active.number, entropy),
            kek_id: kek.id().to_owned(),
            active: keys.number == self.active.number,
        };
        self.terms.values().map(row).collect()
    }

    /// This keyring with a new term, which can be opened from now on and is not sealed under before
    /// [`activated`](Self::activated). Commit its rows before using it.
    ///
    /// # Errors
    /// [`KeyringError::Pending`] if there is one already, [`KeyringError::Exhausted`] after 2^32 - 1 terms.
    pub fn with_term(&self, entropy: &Entropy) -> Result<Self, KeyringError> {
        if self.pending_term().is_some() {
            return Err(KeyringError::Pending("pending already"));
        }
        let number = self.active.number.checked_add(1).ok_or(KeyringError::Exhausted)?;
        let keys = Arc::new(TermKeys::new(number, Key::fresh(entropy), &self.instance));
        let mut ring = self.clone();
        ring.terms.insert(number, keys);
        Ok(ring)
    }

    /// This keyring with its pending term active. Commit its rows before using it.
    ///
    /// # Errors
    /// [`KeyringError::Pending`] if there is none.
    pub fn activated(&self) -> Result<Self, KeyringError> {
        let pending = self.pending_term().and_then(|term| self.terms.get(&term));
        let keys = pending.ok_or(KeyringError::Pending("active already"))?;
        Ok(Self { active: Arc::clone(keys), ..self.clone() })
    }

    /// This keyring without a term that nothing stored names any more: no value, no rights MAC and no credential hash.
    /// What is still under it can never be opened again.
    ///
    /// # Errors
    /// [`KeyringError::NotRemovable`] for the active term and for one that is not there.
    pub fn without_term(&self, term: u32) -> Result<Self, KeyringError> {
        let mut ring = self.clone();
        if term == self.active.number || ring.terms.remove(&term).is_none() {
            return Err(KeyringError::NotRemovable(term));
        }
        Ok(ring)
    }

    /// The term under which new values are sealed.
    pub fn active_term(&self) -> u32 {
        self.active.number
    }

    /// The newest term that values can be opened under.
    pub fn newest_term(&self) -> u32 {
        self.terms.keys().next_back().copied().unwrap_or(self.active.number)
    }

    /// The term that is to become active, if there is one.
    pub fn pending_term(&self) -> Option<u32> {
        Some(self.newest_term()).filter(|newest| *newest > self.active.number)
    }

    /// All terms, oldest first.
    pub fn terms(&self) -> impl Iterator<Item = u32> {
        self.terms.keys().copied()
    }

    /// The keys for new values.
    pub(super) fn active(&self) -> &TermKeys {
        &self.active
    }

    /// The keys of a term that a stored value names.
    pub(super) fn term(&self, number: u32) -> Result<&TermKeys, SealError> {
        let keys = self.terms.get(&number).map(AsRef::as_ref);
        keys.ok_or_else(|| match number > self.newest_term() {
            true => SealError::NewerTerm(number),
            false => SealError::UnknownTerm(number),
        })
    }

    /// The id of this instance.
    pub(super) const fn instance(&self) -> &[u8; 16] {
        &self.instance
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<_> = self.terms().collect();
        write!(f, "Keyring(terms {terms:?}, active {})", self.active_term())
    }
}

impl TermKeys {
    fn new(number: u32, root: Key, instance: &[u8; 16]) -> Self {
        Self {
            number,
            values: Xaes256Gcm::new(&root.derive(instance, "token-broker/1/seal")),
            rights: root.derive(instance, "token-broker/1/rights-mac"),
            credentials: root.derive(instance, "token-broker/1/credential-hash"),
            api_keys: root.derive(instance, "token-broker/1/api-key-hash"),
            checkpoints: root.derive(instance, "token-broker/1/audit-checkpoint"),
            root,
        }
    }

    fn open(
        kek: &Kek,
        cipher: &Xaes256Gcm,
        instance: &[u8; 16],
        (row, active): (&SealedTerm, u32),
    ) -> Result<Self, KeyringError> {
        let term = row.term;
        if row.kek_id != kek.id() {
            let (sealed_by, given) = (row.kek_id.clone(), kek.id().to_owned());
            return Err(KeyringError::OtherKek { term, sealed_by, given });
        }
        open_root(cipher, instance, (row, active))
            .map(|root| Self::new(term, root, instance))
            .map_err(|why| KeyringError::Unopenable { term, why })
    }

    #[expect(clippy::expect_used, reason = "a key is 32 bytes, the limit is a mebibyte")]
    fn seal(
        &self,
        cipher: &Xaes256Gcm,
        instance: &[u8; 16],
        active: u32,
        entropy: &Entropy,
    ) -> Sealed {
        let associated = place_of(self.number, active).associated_data(instance, KEK_TERM);
        envelope::seal(cipher, KEK_TERM, entropy, associated.as_bytes(), self.root.bytes())
            .expect("a key is short enough to be sealed")
    }
}

fn open_root(
    cipher: &Xaes256Gcm,
    instance: &[u8; 16],
    (row, active): (&SealedTerm, u32),
) -> Result<Key, SealError> {
    let envelope = Envelope::parse(&row.sealed)?;
    if envelope.term() != KEK_TERM {
        return Err(SealError::UnknownTerm(envelope.term()));
    }
    let associated = place_of(row.term, active).associated_data(instance, KEK_TERM);
    let root = envelope.open(cipher, associated.as_bytes())?;
    Key::from_slice(&root).ok_or(SealError::Integrity)
}

/// The place of a term key. Its generation says what the term is beside the active one: retired, active or pending.
fn place_of(term: u32, active: u32) -> Place {
    let row = u128::from(term).to_be_bytes();
    let generation = match term.cmp(&active) {
        Ordering::Less => 0,
        Ordering::Equal => 1,
        Ordering::Greater => 2,
    };
    Place { table: "keyring", column: "key", row, generation }
}

#[cfg(test)]
mod tests;
