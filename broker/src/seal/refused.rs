//! Rows that were changed behind the broker's back: which, so that an operator can be told.
//!
//! Never decides anything: whoever asks for such a row is refused whether it is noted here or not. Invariant: a bounded
//! list, and looking at it costs nothing while it is empty. Next: `rights` notes, the service's `status` shows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most that are noted; whoever has more looks at the first.
const MOST: usize = 100;

/// A cell that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedRow {
    /// The table.
    pub table: String,
    /// The column whose check failed.
    pub column: String,
    /// The row's id.
    pub id: String,
}

/// The list. One for a process.
#[derive(Debug, Default)]
pub(super) struct Refused {
    some: AtomicBool,
    rows: Mutex<BTreeSet<RefusedRow>>,
}

impl RefusedRow {
    /// A cell of the row with this id.
    pub fn new(table: &str, column: &str, id: [u8; 16]) -> Self {
        let id = uuid::Uuid::from_bytes(id).to_string();
        Self { table: table.to_owned(), column: column.to_owned(), id }
    }
}

impl Refused {
    /// It does not fit.
    pub(super) fn note(&self, row: RefusedRow) {
        let mut rows = self.rows();
        if rows.len() < MOST && rows.insert(row.clone()) {
            tracing::error!(
                table = row.table,
                column = row.column,
                id = row.id,
                "a row was changed behind the broker's back or is damaged; it grants nothing"
            );
        }
        self.some.store(true, Ordering::Relaxed);
    }

    /// It fits. Costs nothing as long as everything does.
    pub(super) fn clear(&self, row: impl FnOnce() -> RefusedRow) {
        if self.some.load(Ordering::Relaxed) {
            let mut rows = self.rows();
            rows.remove(&row());
            self.some.store(!rows.is_empty(), Ordering::Relaxed);
        }
    }

    /// All that are noted, in order.
    pub(super) fn all(&self) -> Vec<RefusedRow> {
        self.rows().iter().cloned().collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeSet<RefusedRow>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_named_until_it_fits_again_and_the_list_is_bounded() {
        let refused = Refused::default();
        let row = |n: u8| RefusedRow::new("apps", "mac", [n; 16]);
        refused.note(row(1));
        refused.note(row(1));
        assert_eq!(refused.all(), [row(1)]);
        refused.clear(|| row(1));
        assert!(refused.all().is_empty());
        refused.clear(|| panic!("nobody is asked while it is empty"));
        (0..=u8::MAX).for_each(|n| refused.note(row(n)));
        assert_eq!(refused.all().len(), MOST);
    }
}
