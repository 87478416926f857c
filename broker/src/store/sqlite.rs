//! Opens the embedded engine.
//!
//! Never lets two brokers share a file: an exclusive lock on `<file>.lock` is held as long as the store lives, and the
//! system releases it when the process dies. Invariants: WAL with `synchronous=FULL` (an acknowledged commit survives
//! power loss), foreign keys on, one connection that writes, a few that cannot, file mode 0600. Next: `migrations.rs`.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::engine::{Conn, Pool, maybe};
use super::error::{Error, Result};

/// Readers beside the one writer.
const READERS: u32 = 4;
/// How long a connection may take to come (readers wait less, see `store.rs`), and a statement for a lock.
const WAIT: Duration = Duration::from_secs(3);

/// What opening an engine gives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) readers: Pool,
    pub(super) writer: Pool,
    pub(super) lock: Option<Lock>,
}

/// The lock on a database file; let go when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

/// Locks and opens the file, and makes it if need be.
pub(super) async fn open(path: &Path) -> Result<Opened> {
    let lock = lock(path)?;
    private_file(path).map_err(|error| cannot(path, &error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(WAIT)
        .pragma("trusted_schema", "off");
    let writer: SqlitePool = pool(1).connect_with(options.clone()).await.map_err(Error::from)?;
    // The writer has switched the file to WAL; a connection that cannot write cannot do that.
    let reading = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .foreign_keys(true)
        .busy_timeout(WAIT)
        .pragma("trusted_schema", "off");
    let readers = pool(READERS).connect_lazy_with(reading);
    Ok(Opened { readers: Pool::Sqlite(readers), writer: Pool::Sqlite(writer), lock: Some(lock) })
}

/// Refuses a file that SQLite itself finds damaged.
pub(super) async fn quick_check(conn: &mut Conn, lock: &Lock) -> Result<()> {
    match maybe!(conn, "pragma quick_check(1)" => (String,))? {
        Some((finding,)) if finding != "ok" => {
            Err(Error::Damaged { path: lock.path.clone(), finding })
        }
        _ => Ok(()),
    }
}

fn pool(most: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// The lock file stays behind on purpose: removing it would let two brokers lock two different files of that name.
fn lock(path: &Path) -> Result<Lock> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&beside)
        .map_err(|error| cannot(Path::new(&beside), &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.take(20).read_to_string(&mut text);
            return Err(Error::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(cannot(Path::new(&beside), &error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| cannot(Path::new(&beside), &error))?;
    Ok(Lock { path: path.to_owned(), _file: file })
}

/// Makes the file ourselves, because SQLite would make it readable for others; the `-wal` and `-shm` inherit its mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    Error::Unreachable { why: format!("{}: {}", path.display(), error.kind()) }
}
