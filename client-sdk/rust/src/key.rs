//! Secrets in this process's memory and where the API key comes from.
//!
//! Never prints one. Invariant: a key file that others on the machine can read is refused. Next: `door` puts the key
//! on calls.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tonic::codegen::http::HeaderValue;
use zeroize::Zeroizing;

use crate::errors::Error;

const MAX_KEY_BYTES: u64 = 512;

/// Text that must not be seen: `Debug` prints `[secret]`, there is no `Display`, memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every use is a place to check.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where the API key comes from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    Missing,
    Value(Secret),
    File(PathBuf),
    Environment(String),
}

impl KeySource {
    /// The `authorization` header that shows the key.
    ///
    /// # Errors
    /// [`Error::Options`] if there is no key, others can read its file, or it cannot stand in a header.
    pub(crate) fn header(&self) -> Result<HeaderValue, Error> {
        let key = match self {
            Self::Missing => {
                return Err(Error::options(
                    "no API key was given",
                    "name a key file (Options::api_key_file) that holds a `tbk_..` key",
                ));
            }
            Self::Value(key) => key.clone(),
            Self::File(path) => read_private(path)?,
            Self::Environment(name) => from_environment(name)?,
        };
        let text = Zeroizing::new(format!("Bearer {}", key.expose().trim()));
        let mut header = HeaderValue::from_str(&text).map_err(|_| not_a_key())?;
        if key.expose().trim().is_empty() {
            return Err(not_a_key());
        }
        header.set_sensitive(true);
        Ok(header)
    }
}

fn not_a_key() -> Error {
    Error::options(
        "the API key is empty or has characters no key has",
        "copy the `tbk_..` key anew, nothing else",
    )
}

fn from_environment(name: &str) -> Result<Secret, Error> {
    std::env::var(name).map(Secret::new).map_err(|_| {
        Error::options(
            format!("the environment variable {name} has no API key"),
            format!("set {name} to a `tbk_..` key, or name a key file"),
        )
    })
}

fn read_private(path: &Path) -> Result<Secret, Error> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        Error::options(
            format!("the key file {shown} cannot be read: {error}"),
            "check the path and who owns the file",
        )
    };
    let file = File::open(path).map_err(cannot)?;
    refuse_if_shared(&file, path).map_err(cannot)??;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_BYTES).read_to_string(&mut text).map_err(cannot)?;
    Ok(Secret::new(text.trim()))
}

#[cfg(unix)]
fn refuse_if_shared(file: &File, path: &Path) -> std::io::Result<Result<(), Error>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(Ok(()));
    }
    let shown = path.display();
    Ok(Err(Error::options(
        format!("others can read the key file {shown} (mode {mode:04o})"),
        format!("run: chmod 600 {shown}"),
    )))
}

#[cfg(not(unix))]
fn refuse_if_shared(_: &File, _: &Path) -> std::io::Result<Result<(), Error>> {
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused_and_the_remedy_named() {
        use std::os::unix::fs::PermissionsExt;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "tbk_abc").unwrap();
        let source = KeySource::File(file.path().into());
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o640)).unwrap();
        let Err(Error::Options { what, remedy, .. }) = source.header() else { panic!("refused") };
        assert!(what.contains("0640"), "{what}");
        assert!(remedy.starts_with("run: chmod 600 /"), "{remedy}");
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.header().unwrap().to_str().unwrap(), "Bearer tbk_abc");
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let source = KeySource::Value(Secret::new("tbk_canary"));
        assert!(!format!("{source:?}").contains("canary"));
        assert!(!format!("{:?}", source.header().unwrap()).contains("canary"));
    }

    #[test]
    fn an_empty_key_or_one_with_line_breaks_is_refused() {
        for text in ["", "  \n", "tbk_a\nx: y"] {
            assert!(KeySource::Value(Secret::new(text)).header().is_err(), "{text:?}");
        }
    }
}
