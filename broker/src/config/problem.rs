//! What is wrong with a configuration, told so that it can be mended.
//!
//! Never prints a value that may be a secret: only the field and what belongs there.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used: file, line, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    line: Option<usize>,
    what: String,
}

impl Problem {
    /// A value at `span` is wrong; `what` says which field and what belongs there.
    pub(super) fn at(file: &Path, text: &str, span: &Range<usize>, what: String) -> Self {
        Self { file: file.to_owned(), line: Some(line(text, span.start)), what }
    }

    /// Something is missing that has no place yet.
    pub(super) fn missing(file: &Path, what: &str) -> Self {
        Self { file: file.to_owned(), line: None, what: what.to_owned() }
    }

    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let what = format!(
            "cannot be read: {error}. Make one with `token-broker init`, or name another with --config"
        );
        Self { file: file.to_owned(), line: None, what }
    }

    pub(super) fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line(text, span.start));
        Self { file: file.to_owned(), line, what: error.message().to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Problem {}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
