//! One broken wall, as a sentence.
//!
//! Invariant: it begins with `file:line: `, so that editors jump there. Next: `main` prints all of them.

use std::fmt;

/// What is wrong, where, and what to do.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    sentence: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, sentence: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line.max(1), sentence: sentence.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}
