//! Secrets in and out of this tool.
//!
//! Never as an argument: arguments are seen by everyone on the machine. In by file, stdin, environment or a prompt
//! without echo; out once, to stdout or to a new file that only its owner can read. Invariant: `Debug` of what holds
//! one prints `[secret]`.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use console::Term;
use token_broker_client::{Error, Secret};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// No provider's client secret is longer; the contract's limit.
const MAX_BYTES: u64 = 4096;

/// Reads a secret from `file` (`-` is stdin), else from the environment variable, else from a prompt if there is a
/// terminal. `None` if there is none of these.
pub(crate) fn read(
    file: Option<&Path>,
    variable: &str,
    prompt: &str,
) -> Result<Option<Secret>, Failure> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    if let Ok(text) = std::env::var(variable) {
        return Ok(Some(trimmed(Zeroizing::new(text))));
    }
    let term = Term::stderr();
    if !term.is_term() || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let asked = term.write_str(prompt).and_then(|()| term.read_secure_line());
    asked.map(|text| Some(trimmed(Zeroizing::new(text)))).map_err(Failure::local)
}

fn from_file(path: &Path) -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    let shown = if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
    let size = read.map_err(|error| {
        Failure::usage(format!("cannot read the secret from {shown}: {error}"), "check the path")
    })?;
    let secret = trimmed(text);
    if size as u64 > MAX_BYTES || secret.expose().is_empty() {
        return Err(Failure::usage(
            format!("{shown} holds no secret: it is empty or larger than {MAX_BYTES} bytes"),
            "it must hold the secret and nothing else",
        ));
    }
    Ok(secret)
}

fn trimmed(text: Zeroizing<String>) -> Secret {
    Secret::new(text.trim_end_matches(['\r', '\n']))
}

/// A place for a generated secret, made before the broker makes the secret, so that none is lost to a bad path.
#[derive(Debug)]
pub(crate) struct Destination {
    file: Option<(PathBuf, std::fs::File)>,
}

impl Destination {
    /// A new file that only its owner can read, or stdout.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            Failure::usage(
                format!("cannot make the file {}: {error}", path.display()),
                "name a file that does not exist yet, in a folder you may write to",
            )
        })?;
        Ok(Self { file: Some((path.into(), file)) })
    }

    /// Writes the secret if there is a file. What is to be shown: the secret, or where it was put.
    pub(crate) fn put(self, secret: String) -> Result<Shown, Failure> {
        let secret = Zeroizing::new(secret);
        let Some((path, mut file)) = self.file else {
            return Ok(Shown::Secret(secret.to_string()));
        };
        writeln!(file, "{}", *secret).and_then(|()| file.sync_all()).map_err(|error| {
            Failure::Refused {
                what: format!(
                    "the secret was made but {} cannot be written: {error}",
                    path.display()
                ),
                remedy: "make room, then rotate or add another; nobody can see this one again"
                    .into(),
            }
        })?;
        Ok(Shown::File(path.display().to_string()))
    }

    /// Goes on with the broker's answer, or removes the empty file again after the broker refused.
    pub(crate) fn or_discard<T>(self, answer: Result<T, Error>) -> Result<(T, Self), Error> {
        match (answer, self.file) {
            (Ok(answer), file) => Ok((answer, Self { file })),
            (Err(error), None) => Err(error),
            (Err(error), Some((path, _))) => {
                // It is empty; if it stays, it does no harm.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }
}

/// Where a generated secret went.
pub(crate) enum Shown {
    /// Onto the screen.
    Secret(String),
    /// Into this file.
    File(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_generated_secret_goes_into_a_new_file_only_its_owner_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let Shown::File(_) = Destination::open(Some(&path)).unwrap().put("tb_x".into()).unwrap()
        else {
            panic!("into the file")
        };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "tb_x\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Destination::open(Some(&path)).is_err(), "nothing is overwritten");
    }

    #[test]
    fn a_secret_file_loses_its_line_break_and_must_not_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "GOCSPX abc \r\n").unwrap();
        assert_eq!(from_file(&path).unwrap().expose(), "GOCSPX abc ");
        std::fs::write(&path, "\n").unwrap();
        assert!(from_file(&path).is_err());
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(from_file(&path).is_err());
    }
}
