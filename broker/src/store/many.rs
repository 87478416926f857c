//! Many rows in one statement: an insert with as many groups of placeholders as there are rows.
//!
//! Never makes a text of user input. Invariant: rows go in chunks of powers of two up to 64, so that a connection prepares
//! seven texts for each insert and no more. Next: `audit.rs` and `sessions.rs` insert what a group of decisions leaves.

use std::fmt::Write;
use std::sync::OnceLock;

/// Texts for 1, 2, 4, .. 64 rows.
const TEXTS: usize = 7;

/// An insert for many rows.
#[derive(Debug)]
pub(super) struct Many {
    head: &'static str,
    columns: usize,
    texts: [OnceLock<String>; TEXTS],
}

impl Many {
    /// `head` ends with `values`; each row has so many columns.
    pub(super) const fn new(head: &'static str, columns: usize) -> Self {
        Self { head, columns, texts: [const { OnceLock::new() }; TEXTS] }
    }

    /// Cuts `rows` into chunks, each with the text that inserts it.
    pub(super) fn chunks<'r, T>(
        &'static self,
        mut rows: &'r [T],
    ) -> impl Iterator<Item = (&'static str, &'r [T])> {
        std::iter::from_fn(move || {
            let power = rows.len().checked_ilog2()?.min(6) as usize;
            let (chunk, rest) = rows.split_at(1 << power);
            rows = rest;
            Some((self.text(power), chunk))
        })
    }

    /// The text for 2 to the `power` rows.
    pub(super) fn text(&'static self, power: usize) -> &'static str {
        self.texts[power].get_or_init(|| {
            let mut text = self.head.to_owned();
            for row in 0..1 << power {
                text.push_str(if row == 0 { " (" } else { ", (" });
                for column in 1..=self.columns {
                    let comma = if column == 1 { "" } else { ", " };
                    // A String takes whatever is written to it.
                    let _ = write!(text, "{comma}${}", row * self.columns + column);
                }
                text.push(')');
            }
            text
        })
    }

    /// Every text there can be, for the test that prepares them.
    #[cfg(test)]
    pub(super) fn all(&'static self) -> impl Iterator<Item = &'static str> {
        (0..TEXTS).map(|power| self.text(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Many = Many::new("insert into t (a, b) values", 2);

    #[test]
    fn rows_are_cut_into_few_texts_and_none_is_lost() {
        let rows: Vec<u8> = (0..203).collect();
        let chunks: Vec<_> = PAIRS.chunks(&rows).collect();
        let sizes: Vec<_> = chunks.iter().map(|(_, chunk)| chunk.len()).collect();
        assert_eq!(sizes, [64, 64, 64, 8, 2, 1]);
        assert_eq!(chunks.concat_rows(), rows);
        assert_eq!(chunks[4].0, "insert into t (a, b) values ($1, $2), ($3, $4)");
        assert_eq!(PAIRS.chunks::<u8>(&[]).count(), 0);
    }

    trait ConcatRows {
        fn concat_rows(&self) -> Vec<u8>;
    }

    impl ConcatRows for Vec<(&str, &[u8])> {
        fn concat_rows(&self) -> Vec<u8> {
            self.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect()
        }
    }
}
