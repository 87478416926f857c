//! Many rows in one statement: an insert with as many groups of placeholders as there are rows.
//!
//! Never makes a text of user input. Invariant: rows go in chunks of powers of two up to 64, so that a connection prepares
//! seven texts for each insert and no more. The engines' texts differ, as those of `stroke.rs` do: SQLite takes `$1` for a name, and
//! its driver looks every name up in a list, which for hundreds of them costs more than the insert; `?` has none. Next: `audit.rs` and `sessions.rs` insert what a group of decisions leaves.

use std::fmt::Write;
use std::sync::OnceLock;

use super::engine::{Conn, Wire};

/// Texts for 1, 2, 4, .. 64 rows.
const TEXTS: usize = 7;

/// An insert for many rows.
#[derive(Debug)]
pub(super) struct Many {
    head: &'static str,
    columns: usize,
    numbered: [OnceLock<String>; TEXTS],
    nameless: [OnceLock<String>; TEXTS],
}

impl Many {
    /// `head` ends with `values`; each row has so many columns.
    pub(super) const fn new(head: &'static str, columns: usize) -> Self {
        Self {
            head,
            columns,
            numbered: [const { OnceLock::new() }; TEXTS],
            nameless: [const { OnceLock::new() }; TEXTS],
        }
    }

    /// Cuts `rows` into chunks, each with the text that inserts it over such a connection.
    pub(super) fn chunks<'r, T>(
        &'static self,
        conn: &Conn,
        mut rows: &'r [T],
    ) -> impl Iterator<Item = (&'static str, &'r [T])> + use<'r, T> {
        let is_sqlite = matches!(conn.0, Wire::Sqlite(_));
        std::iter::from_fn(move || {
            let power = rows.len().checked_ilog2()?.min(6) as usize;
            let (chunk, rest) = rows.split_at(1 << power);
            rows = rest;
            Some((self.text(is_sqlite, power), chunk))
        })
    }

    /// The text for 2 to the `power` rows.
    fn text(&'static self, is_sqlite: bool, power: usize) -> &'static str {
        let texts = if is_sqlite { &self.nameless } else { &self.numbered };
        texts[power].get_or_init(|| {
            let mut text = self.head.to_owned();
            for row in 0..1 << power {
                text.push_str(if row == 0 { " (" } else { ", (" });
                for column in 1..=self.columns {
                    text.push_str(if column == 1 { "" } else { ", " });
                    // A String takes whatever is written to it.
                    let _ = match is_sqlite {
                        true => text.write_char('?'),
                        false => write!(text, "${}", row * self.columns + column),
                    };
                }
                text.push(')');
            }
            text
        })
    }

    /// Every text there can be over such a connection, for the test that prepares them.
    #[cfg(test)]
    pub(super) fn all(&'static self, conn: &Conn) -> impl Iterator<Item = &'static str> + use<> {
        let is_sqlite = matches!(conn.0, Wire::Sqlite(_));
        (0..TEXTS).map(move |power| self.text(is_sqlite, power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::engines::Home;

    static PAIRS: Many = Many::new("insert into t (a, b) values", 2);

    #[tokio::test]
    async fn rows_are_cut_into_few_texts_and_none_is_lost() {
        let home = Home::sqlite();
        let store = home.open().await;
        let conn = store.read().await.unwrap();
        let rows: Vec<u8> = (0..203).collect();
        let chunks: Vec<_> = PAIRS.chunks(&conn, &rows).collect();
        let sizes: Vec<_> = chunks.iter().map(|(_, chunk)| chunk.len()).collect();
        assert_eq!(sizes, [64, 64, 64, 8, 2, 1]);
        let all: Vec<u8> = chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect();
        assert_eq!(all, rows);
        assert_eq!(chunks[4].0, "insert into t (a, b) values (?, ?), (?, ?)");
        assert_eq!(PAIRS.text(false, 1), "insert into t (a, b) values ($1, $2), ($3, $4)");
        assert_eq!(PAIRS.chunks::<u8>(&conn, &[]).count(), 0);
    }
}
