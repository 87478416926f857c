//! Where the key-encryption key comes from: a file, a systemd credential or the environment.
//!
//! Never reads the process environment by itself, never quotes what it read. Invariant: a key that other users of the
//! machine can read is refused, with the command that mends it. A later remote source (Vault transit, a cloud KMS) is
//! one more variant that asks its service to unwrap a stored blob; what follows needs a [`Kek`] and does not change.
//! Next: `kek`.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::kek::{Kek, KekFormat};

/// More than a key has; nothing longer is read.
const MAX_TEXT: usize = 256;
/// Mode bits that let anybody but the owner at a file.
const OTHERS: u32 = 0o077;
/// The same for systemd credentials: systemd may grant the service's user through an ACL, whose mask then shows as a
/// group-read bit although no group may read.
const OTHERS_BEYOND_ACL: u32 = 0o037;

/// The variable in which systemd says where credentials are.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Looks a variable of the environment up. The program passes `&|name| std::env::var_os(name)`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Where a key-encryption key is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// A variable of this name. Whoever may look into the process can read it: prefer the other two.
    Environment(String),
    /// A credential of this name, in the directory that systemd names in `CREDENTIALS_DIRECTORY` (`LoadCredential=`).
    Systemd(String),
}

/// Why there is no key. Every case is the operator's to mend and says how.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no such file. Only a new instance may be given a new key: the old one is what opens the database.
    #[error(
        "there is no key at {}: put the key of this instance there, or `token-broker init` for a new instance",
        .0.display()
    )]
    Missing(PathBuf),
    /// The operating system would not give it.
    #[error("cannot read the key from {from}: {error}")]
    Unreadable {
        /// The source in words.
        from: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is a directory, a device or a pipe.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Other users can read or change it.
    #[error("{} is open to others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The variable is not in the environment.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// A credential is named by a path.
    #[error("{0:?} is not the name of a systemd credential: no '/', not empty, not '.' or '..'")]
    Name(String),
    /// What was read is not a key.
    #[error("{from} does not hold a key: {why}")]
    Format {
        /// The source in words.
        from: String,
        /// What is wrong with it.
        why: KekFormat,
    },
    /// A new key would replace something.
    #[error("{} exists already and is left as it is", .0.display())]
    Exists(PathBuf),
    /// The new key could not be made durable.
    #[error("cannot write the key to {}: {error}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// [`SourceError`], whose text tells the operator what to do.
    pub fn read(&self, environment: Environment<'_>) -> Result<Kek, SourceError> {
        let text = match self {
            Self::File(path) => self.read_file(path, OTHERS)?,
            Self::Environment(name) => {
                let value = environment(name).ok_or_else(|| SourceError::Unset(name.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
            Self::Systemd(name) => {
                self.read_file(&credential_path(name, environment)?, OTHERS_BEYOND_ACL)?
            }
        };
        let text = str::from_utf8(&text).map_err(|_| self.no_key(KekFormat::Encoding))?;
        Kek::parse(text).map_err(|why| self.no_key(why))
    }

    fn read_file(&self, path: &Path, forbidden: u32) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
            _ => SourceError::Unreadable { from: self.to_string(), error },
        };
        // Looked at before it is opened, for opening a pipe would wait for ever, and after, for it may be another now.
        let regular = |found: &fs::Metadata| match found.is_file() {
            true => Ok(()),
            false => Err(SourceError::NotAFile(path.to_owned())),
        };
        regular(&fs::metadata(path).map_err(unreadable)?)?;
        let file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        regular(&found)?;
        let mode = found.mode() & 0o7777;
        if mode & forbidden != 0 {
            return Err(SourceError::Exposed { path: path.to_owned(), mode });
        }
        // Room for all of it, so that the buffer never grows and leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(2 * MAX_TEXT));
        file.take(MAX_TEXT as u64).read_to_end(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    fn no_key(&self, why: KekFormat) -> SourceError {
        SourceError::Format { from: self.to_string(), why }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Systemd(name) => write!(f, "systemd credential {name}"),
        }
    }
}

/// Writes a key to a new file that only its owner may read, and makes file and name durable.
///
/// # Errors
/// [`SourceError::Exists`] if there is anything at `path`, which is then untouched; [`SourceError::Unwritable`] if the
/// disk would not keep it, in which case no half-written key stays behind.
pub fn write_new(kek: &Kek, path: &Path) -> Result<(), SourceError> {
    let unwritable = |error| SourceError::Unwritable { path: path.to_owned(), error };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(SourceError::Exists(path.to_owned()));
        }
        Err(error) => return Err(unwritable(error)),
    };
    let written = write_line(&mut file, kek).and_then(|()| sync_directory_of(path));
    written.map_err(|error| {
        // The file is ours (it did not exist); a failure to remove it is told by the next attempt.
        let _ = fs::remove_file(path);
        unwritable(error)
    })
}

fn write_line(file: &mut File, kek: &Kek) -> io::Result<()> {
    file.write_all(kek.to_text().expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn credential_path(name: &str, environment: Environment<'_>) -> Result<PathBuf, SourceError> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(SourceError::Name(name.to_owned()));
    }
    let directory =
        environment(CREDENTIALS).ok_or_else(|| SourceError::Unset(CREDENTIALS.into()))?;
    Ok(PathBuf::from(directory).join(name))
}

#[cfg(test)]
mod tests;
