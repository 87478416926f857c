//! A MAC over the columns of a row that grants rights, so that whoever can only write the database cannot widen them.
//!
//! Never knows what a column means: the caller lists them, always all and in the same order. Invariant: two different
//! rows never give the same canonical form, be it by a changed value, a value moved to another column, another row or
//! an older version. Not covered: putting a whole old row back with its MAC, which the audit chain shows. Next: `tag`.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::SealError;
use super::keyring::TermKeys;
use super::parts::Parts;
use super::sealer::Sealer;
use super::tag::{TAG_LEN, Tag};

const FORMAT: &str = "token-broker/rights/1";

const ABSENT: &[u8] = b"-";
const TEXT: &[u8] = b"t";
const BYTES: &[u8] = b"b";
const NUMBER: &[u8] = b"n";
const LIST: &[u8] = b"l";

/// The canonical form of a row's rights columns, built column by column.
///
/// Each column goes in with its name and type, so that null, the empty text and the empty list differ.
#[derive(Clone)]
pub struct Canonical(Parts);

/// What is stored beside the row: `term(4) || HMAC-SHA256(32)`.
#[derive(Clone, Copy)]
pub struct RightsMac(Tag);

impl Canonical {
    /// Begins the row `row` of `table` in its `version`, which must be raised with each change of the rights.
    pub fn new(table: &'static str, row: [u8; 16], version: u64) -> Self {
        Self(Parts::new(FORMAT).with(table.as_bytes()).with(&row).with(&version.to_be_bytes()))
    }

    /// A text column, or `None` for null.
    pub fn text<'a>(self, column: &'static str, value: impl Into<Option<&'a str>>) -> Self {
        self.column(column, TEXT, value.into().map(str::as_bytes))
    }

    /// A column of bytes, or `None` for null.
    pub fn bytes<'a>(self, column: &'static str, value: impl Into<Option<&'a [u8]>>) -> Self {
        self.column(column, BYTES, value.into())
    }

    /// A number (also a time in milliseconds, or a truth value as 0 and 1), or `None` for null.
    pub fn number(self, column: &'static str, value: impl Into<Option<i64>>) -> Self {
        let value = value.into().map(i64::to_be_bytes);
        self.column(column, NUMBER, value.as_ref().map(<[u8; 8]>::as_slice))
    }

    /// A list of texts, in the order in which it is stored.
    pub fn list<'a>(self, column: &'static str, items: impl IntoIterator<Item = &'a str>) -> Self {
        let items =
            items.into_iter().fold(Parts::new(column), |all, item| all.with(item.as_bytes()));
        self.column(column, LIST, Some(items.as_bytes()))
    }

    fn column(self, name: &'static str, kind: &[u8], value: Option<&[u8]>) -> Self {
        let parts = self.0.with(name.as_bytes());
        Self(match value {
            Some(value) => parts.with(kind).with(value),
            None => parts.with(ABSENT),
        })
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[canonical, {} bytes]", self.0.as_bytes().len())
    }
}

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
    /// The MAC over a row's rights, under the active term.
    pub fn mac(&self, rights: &Canonical) -> RightsMac {
        let keyring = self.keyring();
        let keys = keyring.active();
        RightsMac(Tag::new(keys.number, fed(keys, rights)))
    }

    /// Checks a row's rights against the MAC stored beside it, before any of them is believed.
    ///
    /// # Errors
    /// [`SealError::Integrity`] if any column, the row's id or its version was changed; [`SealError::UnknownTerm`].
    pub fn check_mac(&self, rights: &Canonical, stored: &RightsMac) -> Result<(), SealError> {
        let keyring = self.keyring();
        let keys = keyring.term(stored.term())?;
        let found = Tag::new(keys.number, fed(keys, rights));
        bool::from(found.same(&stored.0)).then_some(()).ok_or(SealError::Integrity)
    }
}

fn fed(keys: &TermKeys, rights: &Canonical) -> Hmac<Sha256> {
    keys.rights.hmac().chain_update(rights.0.as_bytes())
}

#[cfg(test)]
mod tests;
