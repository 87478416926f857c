//! Where a sealed value lives. It is part of what the cipher authenticates, so a value opens nowhere else.
//!
//! Never stored beside the value: whoever opens it says where it was found. Invariant: two different places, instances
//! or terms never give the same associated data. Next: `envelope`.

use crate::domain::parts::Parts;

/// Names the format, its version and the algorithm, so a later format cannot be taken for this one.
const FORMAT: &str = "token-broker/sealed/1/xaes-256-gcm";

/// One cell of the database at one point of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// The row's id.
    pub row: [u8; 16],
    /// The row's generation: raised whenever the value is replaced, so that an old value cannot be put back under the
    /// new generation. 0 where a row has none.
    pub generation: u64,
}

impl Place {
    /// What the cipher authenticates beside the value.
    pub(super) fn associated_data(&self, instance: &[u8; 16], term: u32) -> Parts {
        Parts::new(FORMAT)
            .with(instance)
            .with(self.table.as_bytes())
            .with(self.column.as_bytes())
            .with(&self.row)
            .with(&self.generation.to_be_bytes())
            .with(&term.to_be_bytes())
    }
}
