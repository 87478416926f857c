//! What the services hold: seals and opens values, signs and checks rights, hashes credentials.
//!
//! Never stores anything and never decides; it answers. Invariant: version, algorithm and term of a value are checked
//! against the keyring before anything is decrypted. Next: `rights` and `credential` add the keyed tags.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::{Zeroize, Zeroizing};

use super::envelope::{self, Envelope};
use super::error::SealError;
use super::keyring::Keyring;
use super::outgrown::{Outgrown, Waiting};
use super::place::Place;
use super::refused::{Refused, RefusedRow};
use crate::domain::secret::{Sealed, Secret};
use crate::entropy::Entropy;

/// Seals and opens under the keyring. Clones share it, so one [`adopt`](Self::adopt) reaches all.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    keyring: ArcSwap<Keyring>,
    entropy: Entropy,
    refused: Refused,
    outgrown: Waiting,
}

impl Sealer {
    /// A sealer that takes its keys from `keyring` and its nonces from `entropy`.
    pub fn new(keyring: Keyring, entropy: Entropy) -> Self {
        Self(Arc::new(Inner {
            keyring: ArcSwap::from_pointee(keyring),
            entropy,
            refused: Refused::default(),
            outgrown: Waiting::default(),
        }))
    }

    /// The keyring in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.0.keyring.load_full()
    }

    /// The id of the instance whose keys these are.
    pub fn instance(&self) -> [u8; 16] {
        *self.keyring().instance()
    }

    /// Goes on with another state of the same instance's keyring, once its rows are committed. Calls that have begun
    /// end with the keys they began with.
    pub fn adopt(&self, keyring: Keyring) {
        self.0.keyring.store(Arc::new(keyring));
    }

    /// Where nonces come from.
    pub(super) fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    /// The term under which values are sealed now.
    pub fn active_term(&self) -> u32 {
        self.keyring().active_term()
    }

    /// Seals a text for `place`, under the active term.
    ///
    /// # Errors
    /// [`SealError::TooLong`] beyond 1 MiB.
    pub fn seal(&self, place: &Place, secret: &Secret) -> Result<Sealed, SealError> {
        self.seal_bytes(place, secret.expose().as_bytes())
    }

    /// Opens a text that was found at `place`.
    ///
    /// # Errors
    /// [`SealError`]: unknown format or term, changed or moved, or not text.
    pub fn open(&self, place: &Place, sealed: &Sealed) -> Result<Secret, SealError> {
        let mut plain = self.open_bytes(place, sealed)?;
        // The bytes move into the secret; nothing is copied.
        String::from_utf8(std::mem::take(&mut *plain)).map(Secret::new).map_err(|error| {
            error.into_bytes().zeroize();
            SealError::NotText
        })
    }

    /// Seals bytes for `place`, under the active term.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_bytes(&self, place: &Place, plain: &[u8]) -> Result<Sealed, SealError> {
        let keyring = self.0.keyring.load();
        let keys = keyring.active();
        let associated = place.associated_data(keyring.instance(), keys.number);
        envelope::seal(&keys.values, keys.number, &self.0.entropy, associated.as_bytes(), plain)
    }

    /// Opens bytes that were found at `place`.
    ///
    /// # Errors
    /// As [`open`](Self::open), but any bytes will do.
    pub fn open_bytes(
        &self,
        place: &Place,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let envelope = Envelope::parse(sealed)?;
        let keyring = self.0.keyring.load();
        let keys = keyring.term(envelope.term())?;
        let associated = place.associated_data(keyring.instance(), keys.number);
        envelope.open(&keys.values, associated.as_bytes())
    }

    /// The same value under the active term; `None` if it is under it already.
    ///
    /// # Errors
    /// As [`open_bytes`](Self::open_bytes).
    pub fn reseal(&self, place: &Place, sealed: &Sealed) -> Result<Option<Sealed>, SealError> {
        if self.term_of(sealed)? == self.active_term() {
            return Ok(None);
        }
        self.seal_bytes(place, &self.open_bytes(place, sealed)?).map(Some)
    }

    /// The first rows that were refused since the start and have not fitted since.
    pub fn refused(&self) -> Vec<RefusedRow> {
        self.0.refused.all()
    }

    /// Notes a row that was refused, by whoever found that out.
    pub fn note_refused(&self, row: RefusedRow) {
        self.0.refused.note(row);
    }

    /// A noted row fits after all.
    pub(super) fn clear_refused(&self, row: impl FnOnce() -> RefusedRow) {
        self.0.refused.clear(row);
    }

    /// The hashes under older terms that were matched since this was asked last, made anew.
    pub fn take_outgrown(&self) -> Vec<Outgrown> {
        self.0.outgrown.take()
    }

    /// Keeps one of them until it is taken.
    pub(super) fn note_outgrown(&self, outgrown: Outgrown) {
        self.0.outgrown.add(outgrown);
    }

    /// The term that a value says it is sealed under; nothing is verified.
    ///
    /// # Errors
    /// If the value is not in a known format.
    pub fn term_of(&self, sealed: &Sealed) -> Result<u32, SealError> {
        Envelope::parse(sealed).map(|envelope| envelope.term())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&*self.0.keyring.load()).finish()
    }
}

#[cfg(test)]
pub(super) mod tests;
