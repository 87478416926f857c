//! Where the store is.
//!
//! Never prints a password: the whole PostgreSQL URL is a `Secret`. Invariant: whoever holds these can open the store
//! and needs nothing else. Next: `sqlite.rs` and `postgres.rs` open it.

use std::path::PathBuf;

use crate::domain::secret::Secret;

/// Which engine, and where.
#[derive(Clone, Debug)]
pub enum Settings {
    /// An embedded SQLite file. Made with mode 0600 if it is not there; its folder must exist.
    Sqlite {
        /// The database file; `-wal`, `-shm` and `.lock` stand beside it. Not on a network disk.
        path: PathBuf,
    },
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://user:password@host:port/database?sslmode=..&sslrootcert=..`. Off loopback the default is
        /// `sslmode=verify-full`; a weaker one has to be said.
        url: Secret,
        /// Upper bound of this broker's connections, the writer's one included; at least 2.
        max_connections: u32,
    },
}
