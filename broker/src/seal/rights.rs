//! A MAC over the columns of a row that grants rights, so that whoever can only write the database cannot widen them.
//!
//! Never knows what a column means: the caller lists them, always all and in the same order. Invariant: two different
//! rows never give the same canonical form, be it by a changed value, a value moved to another column, another row or
//! an older version. Not covered: putting a whole old row back with its MAC, which the audit chain shows. Next: `tag`.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::domain::guarded::{Canonical, Guarded, Rights};

use super::error::SealError;
use super::keyring::TermKeys;
use super::refused::RefusedRow;
use super::sealer::Sealer;
use super::tag::{TAG_LEN, Tag};

/// What is stored beside the row: `term(4) || HMAC-SHA256(32)`.
#[derive(Clone, Copy)]
pub struct RightsMac(Tag);

impl RightsMac {
    /// A stored MAC.
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

impl fmt::Debug for RightsMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RightsMac(term {})", self.term())
    }
}

impl Sealer {
    /// A row ready to be stored, with its MAC.
    pub fn guard<T: Rights>(&self, row: T) -> Guarded<T> {
        let mac = self.mac(&Canonical::of(&row));
        Guarded::new(row, mac.as_bytes().to_vec())
    }

    /// A row that the store read, once its MAC fits.
    ///
    /// # Errors
    /// As [`check_mac`](Self::check_mac).
    pub fn admit<T: Rights>(&self, row: Guarded<T>) -> Result<T, SealError> {
        let name = || RefusedRow::new(T::TABLE, "mac", row.unchecked().row());
        let fits = RightsMac::from_bytes(row.mac())
            .and_then(|mac| self.check_mac(&Canonical::of(row.unchecked()), &mac));
        match fits {
            Ok(()) => self.clear_refused(name),
            Err(error) => {
                self.note_refused(name());
                return Err(error);
            }
        }
        Ok(row.into_unchecked())
    }

    /// The same row with a MAC under the active term, once the one it has fits; `None` if it is under that already.
    ///
    /// A row whose MAC does not fit stays as it is: to sign it would make genuine what somebody put there.
    ///
    /// # Errors
    /// As [`check_mac`](Self::check_mac).
    pub fn resign<T: Rights>(&self, row: Guarded<T>) -> Result<Option<RightsMac>, SealError> {
        let term = RightsMac::from_bytes(row.mac()).map(|mac| mac.term());
        let row = self.admit(row)?;
        Ok((term? != self.active_term()).then(|| self.mac(&Canonical::of(&row))))
    }

    /// The MAC over a row's rights, under the active term.
    pub fn mac(&self, rights: &Canonical) -> RightsMac {
        let keyring = self.keyring();
        let keys = keyring.active();
        RightsMac(Tag::new(keys.number, fed(keys, rights)))
    }

    /// Checks a row's rights against the MAC stored beside it, before any of them is believed.
    ///
    /// # Errors
    /// [`SealError::Integrity`] if any column, the row's id or its version was changed; [`SealError::UnknownTerm`] or
    /// [`SealError::NewerTerm`].
    pub fn check_mac(&self, rights: &Canonical, stored: &RightsMac) -> Result<(), SealError> {
        let keyring = self.keyring();
        let keys = keyring.term(stored.term())?;
        let found = Tag::new(keys.number, fed(keys, rights));
        bool::from(found.same(&stored.0)).then_some(()).ok_or(SealError::Integrity)
    }
}

fn fed(keys: &TermKeys, rights: &Canonical) -> Hmac<Sha256> {
    keys.rights.hmac().chain_update(rights.as_bytes())
}

#[cfg(test)]
mod tests;
