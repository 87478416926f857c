//! Rows that grant rights, and the seal on them.
//!
//! Whoever can write to the database could widen a right there. So every row that grants one carries a keyed hash over the
//! columns that matter, and what the store reads is a [`Guarded`] value that only `seal` turns into the value itself.
//! Invariant: nothing decides by a [`Guarded`] row that was not checked. Next: `seal/rights.rs` makes and checks the hash.

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

/// A row that grants rights: says which of its columns the hash covers.
pub trait Rights {
    /// The table it is stored in.
    const TABLE: &'static str;
    /// The row's id.
    fn row(&self) -> [u8; 16];
    /// Writes every column that grants, widens or withdraws a right, in a fixed order.
    fn columns(&self, into: &mut Columns);
}

/// Columns in a form in which no two different rows look the same: each is preceded by its kind and length.
#[derive(Debug, Default)]
pub struct Columns(Vec<u8>);

impl Columns {
    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.piece(b't', text.as_bytes())
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.piece(b'b', bytes)
    }

    /// A number.
    pub fn number(&mut self, number: i64) -> &mut Self {
        self.piece(b'n', &number.to_be_bytes())
    }

    /// A number that may be absent.
    pub fn maybe(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.piece(b'0', &[]),
        }
    }

    /// A list of texts, in its order.
    pub fn list<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let mut inner = Columns::default();
        for text in texts {
            inner.text(text);
        }
        self.piece(b'l', &inner.0)
    }

    /// The bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn piece(&mut self, kind: u8, bytes: &[u8]) -> &mut Self {
        self.0.push(kind);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
}
