//! Secrets in this process's memory and where the API key comes from.
//!
//! Never prints one. Invariant: a key file that others on the machine can read is refused. Next: `door` puts the key
//! on calls.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use tonic::codegen::http::HeaderValue;
use zeroize::Zeroizing;

use crate::errors::Error;

const MAX_KEY_BYTES: u64 = 512;

/// The longest token that a broker reads.
const MAX_TOKEN_BYTES: u64 = 8 * 1024;

/// How soon a token file is read again.
const TOKEN_FILE_STANDS: Duration = Duration::from_secs(5);

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

/// Where the API key, or the token instead of one, comes from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    Missing,
    Value(Secret),
    File(PathBuf),
    Environment(String),
    TokenFile(PathBuf),
    Provider(TokenProvider),
}

/// Gives the token of the moment.
#[derive(Clone)]
pub(crate) struct TokenProvider(Arc<dyn Fn() -> Result<String, String> + Send + Sync>);

impl TokenProvider {
    pub(crate) fn new(give: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(give))
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

/// What is shown at each call, as the `authorization` header.
#[derive(Debug)]
pub(crate) enum Bearer {
    /// A client certificate does it.
    None,
    /// An API key.
    Fixed(HeaderValue),
    /// A token that somebody renews.
    File(PathBuf, Mutex<Option<(Instant, HeaderValue)>>),
    /// A token that the program gives.
    Provider(TokenProvider),
}

impl Bearer {
    /// The header of the next call.
    ///
    /// # Errors
    /// [`Error::Options`] if there is no token, or none that can stand in a header.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(header) => Ok(Some(header.clone())),
            Self::Provider(TokenProvider(give)) => {
                let token = give().map_err(|why| {
                    Error::options(
                        format!("there is no token: {why}"),
                        "see to it that one is given",
                    )
                })?;
                header_of(&Secret::new(token)).map(Some)
            }
            Self::File(path, last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                match &*last {
                    Some((read, header)) if read.elapsed() < TOKEN_FILE_STANDS => {
                        return Ok(Some(header.clone()));
                    }
                    _ => {}
                }
                let header = match (read_token(path), &*last) {
                    (Ok(token), _) => header_of(&token)?,
                    // It is being replaced, perhaps; the broker says if the old one has ended.
                    (Err(error), Some((_, old))) => {
                        tracing::warn!(%error, "the token file cannot be read again");
                        old.clone()
                    }
                    (Err(error), None) => return Err(error),
                };
                *last = Some((Instant::now(), header.clone()));
                Ok(Some(header))
            }
        }
    }
}

impl KeySource {
    /// What is shown at each call. Without a key or token there has to be a certificate.
    ///
    /// # Errors
    /// As [`header`](Self::header), or [`Error::Options`] if the token file cannot be read now.
    pub(crate) fn bearer(&self, certified: bool) -> Result<Bearer, Error> {
        let bearer = match self {
            Self::Missing if certified => Bearer::None,
            Self::TokenFile(path) => Bearer::File(path.clone(), Mutex::default()),
            Self::Provider(provider) => return Ok(Bearer::Provider(provider.clone())),
            _ => Bearer::Fixed(self.header()?),
        };
        bearer.header().map(|_| bearer)
    }

    /// The `authorization` header that shows the key.
    ///
    /// # Errors
    /// [`Error::Options`] if there is no key, others can read its file, or it cannot stand in a header.
    fn header(&self) -> Result<HeaderValue, Error> {
        let key = match self {
            Self::Missing | Self::TokenFile(_) | Self::Provider(_) => {
                return Err(Error::options(
                    "no API key was given",
                    "name a key file (Options::api_key_file) that holds a `tbk_..` key, a token file or a client \
                     certificate",
                ));
            }
            Self::Value(key) => key.clone(),
            Self::File(path) => read_private(path)?,
            Self::Environment(name) => from_environment(name)?,
        };
        header_of(&key)
    }
}

fn header_of(key: &Secret) -> Result<HeaderValue, Error> {
    let key = key.expose().trim();
    let text = Zeroizing::new(format!("Bearer {key}"));
    let mut header = HeaderValue::from_str(&text).map_err(|_| not_a_key())?;
    if key.is_empty() {
        return Err(not_a_key());
    }
    header.set_sensitive(true);
    Ok(header)
}

/// A token as its file has it now. Others may be able to read the file: projected tokens of Kubernetes are such, and
/// live for minutes.
fn read_token(path: &Path) -> Result<Secret, Error> {
    let cannot = |error: std::io::Error| {
        Error::options(
            format!("the token file {} cannot be read: {error}", path.display()),
            "check the path, and that the token is mounted there",
        )
    };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(cannot)?;
    Ok(Secret::new(text.trim()))
}

/// A file with a private key, which nobody else may be able to read.
pub(crate) fn private_key(path: &Path) -> Result<Vec<u8>, Error> {
    let cannot = |error: std::io::Error| {
        Error::options(
            format!("the key {} of the client certificate cannot be read: {error}", path.display()),
            "check the path and who owns the file",
        )
    };
    let file = File::open(path).map_err(cannot)?;
    refuse_if_shared(&file, path).map_err(cannot)??;
    let mut pem = Vec::new();
    file.take(64 * 1024).read_to_end(&mut pem).map_err(cannot)?;
    Ok(pem)
}

fn not_a_key() -> Error {
    Error::options(
        "the API key or token is empty or has characters that none has",
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

    #[tokio::test(start_paused = true)]
    async fn a_token_file_is_read_again_and_an_outage_of_it_keeps_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = KeySource::TokenFile(path.clone());
        assert!(matches!(source.bearer(false), Err(Error::Options { .. })), "named at the start");
        std::fs::write(&path, "one\n").unwrap();
        let bearer = source.bearer(false).unwrap();
        let shown = || bearer.header().unwrap().unwrap().to_str().unwrap().to_owned();
        std::fs::write(&path, "two").unwrap();
        assert_eq!(shown(), "Bearer one", "not at every call");
        tokio::time::advance(TOKEN_FILE_STANDS).await;
        assert_eq!(shown(), "Bearer two");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(TOKEN_FILE_STANDS).await;
        assert_eq!(shown(), "Bearer two");
    }

    #[test]
    fn a_provider_is_asked_at_every_call() {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let source = KeySource::Provider(TokenProvider::new(move || {
            match counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                2 => Err("nobody is at home".to_owned()),
                number => Ok(format!("token-{number}")),
            }
        }));
        let bearer = source.bearer(false).unwrap();
        assert_eq!(bearer.header().unwrap().unwrap(), "Bearer token-0");
        assert_eq!(bearer.header().unwrap().unwrap(), "Bearer token-1");
        let Err(Error::Options { what, .. }) = bearer.header() else { panic!("none") };
        assert!(what.contains("nobody is at home"), "{what}");
    }

    #[test]
    fn a_certificate_does_instead_of_a_key() {
        assert!(KeySource::Missing.bearer(false).is_err());
        assert!(KeySource::Missing.bearer(true).unwrap().header().unwrap().is_none());
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
