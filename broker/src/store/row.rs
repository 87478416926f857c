//! From columns to the domain's values and back.
//!
//! Never guesses: a value that this broker would not have written is [`Error::Corrupt`], with its place. Invariant: lists
//! and maps are JSON text, ids 16 bytes, times milliseconds, flags 0 or 1, the same on both engines. Next: the
//! aggregates declare their rows with `row!`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use crate::clock::Time;

/// Declares a row: a struct that is read by column name on either engine, and a macro that names its columns in SQL.
macro_rules! row {
    ($row:ident, $columns:ident { $first:ident: $first_type:ty $(, $field:ident: $type:ty)* $(,)? }) => {
        pub(super) struct $row {
            pub(super) $first: $first_type,
            $(pub(super) $field: $type,)*
        }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $row
        where
            for<'c> &'c str: sqlx::ColumnIndex<R>,
            $first_type: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
            $($type: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,)*
        {
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                Ok(Self {
                    $first: row.try_get(stringify!($first))?,
                    $($field: row.try_get(stringify!($field))?,)*
                })
            }
        }

        macro_rules! $columns {
            () => {
                concat!(stringify!($first) $(, ", ", stringify!($field))*)
            };
        }
    };
}

pub(super) use row;

/// Reads the columns of one row; knows where it is, for the error.
#[derive(Clone, Copy)]
pub(super) struct Cells<'r> {
    table: &'static str,
    id: &'r [u8],
}

impl<'r> Cells<'r> {
    pub(super) const fn of(table: &'static str, id: &'r [u8]) -> Self {
        Self { table, id }
    }

    /// A 16-byte id.
    pub(super) fn id<T>(
        self,
        column: &'static str,
        bytes: &[u8],
        make: fn([u8; 16]) -> T,
    ) -> Result<T> {
        bytes.try_into().map(make).map_err(|_| self.corrupt(column))
    }

    /// A text that `parse` has to understand.
    pub(super) fn text<T>(
        self,
        column: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T> {
        parse(text).ok_or_else(|| self.corrupt(column))
    }

    /// A text that `parse` has to understand, unless it is empty.
    pub(super) fn optional<T>(
        self,
        column: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        if text.is_empty() { Ok(None) } else { self.text(column, text, parse).map(Some) }
    }

    /// A JSON text.
    pub(super) fn json<T: DeserializeOwned>(self, column: &'static str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|_| self.corrupt(column))
    }

    /// A JSON list of texts, each of which `parse` has to understand.
    pub(super) fn list<T>(
        self,
        column: &'static str,
        text: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>> {
        let texts: Vec<String> = self.json(column, text)?;
        texts.iter().map(|text| self.text(column, text, &parse)).collect()
    }

    /// A number that is something smaller.
    pub(super) fn number<T: TryFrom<i64>>(self, column: &'static str, number: i64) -> Result<T> {
        number.try_into().map_err(|_| self.corrupt(column))
    }

    fn corrupt(self, column: &'static str) -> Error {
        let id = match uuid::Uuid::from_slice(self.id) {
            Ok(id) => id.to_string(),
            Err(_) => String::from_utf8_lossy(self.id).into_owned(),
        };
        Error::Corrupt { table: self.table, column, id }
    }
}

/// A list as JSON text.
pub(super) fn json_list<T: ToString>(items: &[T]) -> String {
    serde_json::Value::from(items.iter().map(T::to_string).collect::<Vec<_>>()).to_string()
}

/// A map as JSON text.
pub(super) fn json_map(map: &BTreeMap<String, String>) -> String {
    let text = |value: &String| serde_json::Value::from(value.as_str());
    let object = map.iter().map(|(key, value)| (key.clone(), text(value)));
    serde_json::Value::Object(object.collect()).to_string()
}

/// Anything else as JSON text.
pub(super) fn json_of<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::Refused { code: "not storable".into() })
}

/// A time that may be absent.
pub(super) fn time(millis: Option<i64>) -> Option<Time> {
    millis.map(Time::from_millis)
}

/// A time that may be absent.
pub(super) fn millis(time: Option<Time>) -> Option<i64> {
    time.map(Time::millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_we_would_not_write_is_named_with_its_place() {
        let cells = Cells::of("apps", b"0123456789abcdef");
        let error = cells.text("rotation", "sideways", |_| None::<()>).unwrap_err();
        let Error::Corrupt { table: "apps", column: "rotation", id } = error else { panic!() };
        assert_eq!(id, "30313233-3435-3637-3839-616263646566");
    }
}
