//! Brings the tables up to date: embedded migrations, twins for the two engines.
//!
//! Never edits a migration that has landed and never runs backwards. Invariant: a database that a newer broker has
//! migrated is left alone; brokers that start together on one PostgreSQL take turns (sqlx holds an advisory lock, the
//! SQLite file is locked anyway). Next: `migrations/README.md` says how to add one.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::engine::{Conn, Wire, run};
use super::error::{Error, Result};

/// One migration, for both engines.
struct Twin {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! twin {
    ($version:literal, $name:literal, $file:literal) => {
        Twin {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../../../migrations/postgres/", $file)),
        }
    };
}

const TWINS: &[Twin] = &[
    twin!(1, "first tables", "0001_first_tables.sql"),
    twin!(2, "refresh schedule", "0002_refresh_schedule.sql"),
    twin!(3, "rights changes", "0003_rights_changes.sql"),
    twin!(4, "caller identities", "0004_caller_identities.sql"),
    twin!(5, "audit chains", "0005_audit_chains.sql"),
    twin!(6, "session ends", "0006_session_ends.sql"),
    twin!(7, "keys", "0007_keys.sql"),
    twin!(8, "login limits", "0008_login_limits.sql"),
    twin!(9, "audit floors", "0009_audit_floors.sql"),
    twin!(10, "giving back", "0010_giving_back.sql"),
];

/// Large tables take their time, and so does a broker that migrates before us.
const PATIENCE_POSTGRES: &str = "set statement_timeout = 0";
const TURN_POSTGRES: &str = "set lock_timeout = 0";

/// Applies what is missing. The connection waits without limits afterwards: it is not to be used again.
pub(super) async fn apply(conn: &mut Conn) -> Result<()> {
    let migrator = migrator(&conn.0);
    if matches!(conn.0, Wire::Postgres(_)) {
        run!(conn, PATIENCE_POSTGRES)?;
        run!(conn, TURN_POSTGRES)?;
    }
    let done = match &mut conn.0 {
        Wire::Sqlite(pooled) => migrator.run_direct(None, &mut **pooled, false).await,
        Wire::Postgres(pooled) => migrator.run_direct(None, &mut **pooled, false).await,
    };
    done.map_err(|error| match error {
        MigrateError::VersionMissing(found) => Error::NewerSchema { found, known: known() },
        MigrateError::VersionMismatch(version) => Error::AlteredMigration { version },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => Error::Refused { code: format!("migration: {other}") },
    })
}

/// The newest migration this broker has.
pub(super) fn known() -> i64 {
    TWINS.last().map_or(0, |twin| twin.version)
}

fn migrator(wire: &Wire) -> Migrator {
    let one = |twin: &Twin| {
        let text = match wire {
            Wire::Sqlite(_) => twin.sqlite,
            Wire::Postgres(_) => twin.postgres,
        };
        let simple = MigrationType::Simple;
        Migration::new(twin.version, twin.name.into(), simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(TWINS.iter().map(one).collect())
}
