//! What can go wrong in the store, named by whose turn it is.
//!
//! Never carries a value of a row: an engine's message may quote one ("Failing row contains ..."), so only its code,
//! table and constraint get through. Invariant: every `sqlx::Error` becomes one of these here and nowhere else.
//! Next: `service` decides what the caller is told.

use std::path::PathBuf;

use sqlx::error::{DatabaseError, ErrorKind};

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do it. Cloned to every job of a group that fails as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No free connection in time, the writer's queue is full, or the writer has stopped. Nothing was done.
    #[error("the store is busy, try again")]
    Busy,
    /// Something with that name or id is there already; `what` is the table.
    #[error("{what}: already exists")]
    Conflict {
        /// The table.
        what: String,
    },
    /// The row it should belong to is not there, or other rows still belong to it; `what` is the table where known.
    #[error("{what}: the row it refers to is missing, or it is still in use")]
    Dangling {
        /// The table, or `row` where the engine does not tell.
        what: String,
    },
    /// The row changed or went away since it was read.
    #[error("{what}: changed meanwhile")]
    Stale {
        /// The table.
        what: &'static str,
    },
    /// The database cannot be reached or broke off. A write in flight may or may not have been committed.
    #[error("the database is unreachable: {why}")]
    Unreachable {
        /// Without values of rows and without passwords.
        why: String,
    },
    /// The disk is full or read-only. Nothing was done.
    #[error("the database cannot be written: {why}")]
    Full {
        /// The engine's code.
        why: String,
    },
    /// A stored value is not what this broker writes.
    #[error("the stored {table}.{column} of {id} cannot be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id or name.
        id: String,
    },
    /// SQLite finds its file corrupt.
    #[error("{} is damaged ({finding}): restore a backup", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The first finding of `pragma quick_check`.
        finding: String,
    },
    /// Another broker has the file.
    #[error("{} is in use by another broker{}: stop it first, or give this one its own file",
        path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The database file.
        path: PathBuf,
        /// The other broker, if its lock file says.
        pid: Option<u32>,
    },
    /// Another broker on the same server has this one's name.
    #[error(
        "another broker called {name:?} uses this database: give each its own `replica`, or stop that one"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A newer broker migrated this database.
    #[error("the database has schema {found}, this broker knows {known}: run the newer broker")]
    NewerSchema {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration this broker has.
        known: i64,
    },
    /// A migration was edited after it had been applied.
    #[error("migration {version} differs from the one that was applied to this database")]
    AlteredMigration {
        /// Its number.
        version: i64,
    },
    /// The settings cannot work.
    #[error("the store's settings: {why}")]
    Settings {
        /// What to change.
        why: String,
    },
    /// The engine refused the statement: our mistake, or a value outside the table's checks.
    #[error("the database refused the statement ({code})")]
    Refused {
        /// The engine's code and constraint.
        code: String,
    },
    /// A job of the same transaction panicked; the transaction was rolled back.
    #[error("a write ended in a panic and was rolled back")]
    Panicked,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_engine(&*error),
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(error) => Self::Unreachable { why: error.kind().to_string() },
            sqlx::Error::Tls(error) => Self::Unreachable { why: format!("TLS: {error}") },
            sqlx::Error::Configuration(_) => {
                Self::Settings { why: "the address cannot be understood".into() }
            }
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unreachable { why: "the connection was closed".into() }
            }
            sqlx::Error::Protocol(_) => {
                Self::Unreachable { why: "the connection is out of step".into() }
            }
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::Refused { code: format!("column {index} has another type") }
            }
            _ => Self::Refused { code: "unexpected answer".into() },
        }
    }
}

fn from_engine(error: &dyn DatabaseError) -> Error {
    let code = error.code().unwrap_or_default().into_owned();
    match error.kind() {
        ErrorKind::UniqueViolation => return Error::Conflict { what: table_of(error) },
        ErrorKind::ForeignKeyViolation => return Error::Dangling { what: table_of(error) },
        ErrorKind::CheckViolation | ErrorKind::NotNullViolation => {
            return Error::Refused { code: format!("{code} in {}", table_of(error)) };
        }
        _ => {}
    }
    let sqlite = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff);
    match (sqlite, code.get(..2)) {
        (Some(5 | 6), _) | (None, Some("40" | "55")) => Error::Busy,
        (Some(8 | 13), _) | (None, Some("53")) if code != "53300" => Error::Full { why: code },
        (None, _) if code == "25006" => Error::Full { why: code },
        (Some(7 | 10 | 11 | 14 | 26), _) => Error::Unreachable { why: sqlite_words(&code) },
        (None, Some("08" | "28" | "3D" | "53" | "57")) => {
            Error::Unreachable { why: format!("{} ({code})", error.message()) }
        }
        _ => Error::Refused { code },
    }
}

/// SQLite names table and column in its message, PostgreSQL in a field.
fn table_of(error: &dyn DatabaseError) -> String {
    let named = error.message().split_once("constraint failed: ").map(|(_, rest)| rest);
    let table =
        error.table().or_else(|| named.and_then(|rest| rest.split_once('.')).map(|it| it.0));
    table.unwrap_or("row").to_owned()
}

fn sqlite_words(code: &str) -> String {
    format!("the file cannot be opened, read or written (SQLite code {code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_a_failing_row_is_never_quoted() {
        let error = Error::from(sqlx::Error::Protocol("Failing row contains (canary)".into()));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
