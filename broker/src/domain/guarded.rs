//! Rows that grant rights, and the seal on them.
//!
//! Whoever can write to the database could widen a right there. So every row that grants one carries a keyed hash over the
//! columns that matter, and what the store reads is a [`Guarded`] value that only `seal` turns into the value itself.
//! Invariant: nothing decides by a [`Guarded`] row that was not checked. Next: `seal/rights.rs` makes and checks the hash.

use std::fmt;

use super::parts::Parts;

/// A row together with the keyed hash it was stored with.
#[derive(Clone, Debug)]
pub struct Guarded<T> {
    value: T,
    mac: Vec<u8>,
}

impl<T> Guarded<T> {
    /// What the store read, or what `seal` is about to have stored.
    pub const fn new(value: T, mac: Vec<u8>) -> Self {
        Self { value, mac }
    }

    /// The row, unchecked: for storing it, and for the check itself.
    pub const fn unchecked(&self) -> &T {
        &self.value
    }

    /// The hash it came with.
    pub fn mac(&self) -> &[u8] {
        &self.mac
    }

    /// Gives the row up without a check. Only `seal` calls this, after checking.
    pub fn into_unchecked(self) -> T {
        self.value
    }
}

/// A row that grants rights: says which of its columns the MAC covers.
pub trait Rights {
    /// The table it is stored in.
    const TABLE: &'static str;
    /// The row's id.
    fn row(&self) -> [u8; 16];
    /// The row's version, raised by each change; 0 where there is none.
    fn version(&self) -> i64;
    /// Adds every column that grants, widens or withdraws a right, always all and in the same order.
    fn columns(&self, row: Canonical) -> Canonical;
}

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

/// Bytes that most rows take.
const ROW: usize = 640;

impl Canonical {
    /// The canonical form of `row`.
    pub fn of<T: Rights>(row: &T) -> Self {
        let version = row.version().unsigned_abs();
        row.columns(Self::new(T::TABLE, row.row(), version))
    }

    /// Begins the row `row` of `table` in its `version`, which must be raised with each change of the rights.
    pub fn new(table: &'static str, row: [u8; 16], version: u64) -> Self {
        let parts = Parts::with_room(FORMAT, ROW);
        Self(parts.with(table.as_bytes()).with(&row).with(&version.to_be_bytes()))
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

    /// The bytes a MAC is made over.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
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
