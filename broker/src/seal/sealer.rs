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
use super::place::Place;
use crate::domain::secret::{Sealed, Secret};
use crate::entropy::Entropy;

/// Seals and opens under the keyring. Clones share it, so one [`adopt`](Self::adopt) reaches all.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    keyring: ArcSwap<Keyring>,
    entropy: Entropy,
}

impl Sealer {
    /// A sealer that takes its keys from `keyring` and its nonces from `entropy`.
    pub fn new(keyring: Keyring, entropy: Entropy) -> Self {
        Self(Arc::new(Inner { keyring: ArcSwap::from_pointee(keyring), entropy }))
    }

    /// The keyring in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.0.keyring.load_full()
    }

    /// Goes on with another state of the same instance's keyring, once its rows are committed. Calls that have begun
    /// end with the keys they began with.
    pub fn adopt(&self, keyring: Keyring) {
        self.0.keyring.store(Arc::new(keyring));
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
