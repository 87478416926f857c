//! The files of a repository, and which of them are tests.
//!
//! Never asks git: an unpacked archive has walls too. Invariant: what a `.gitignore` of ours hides is not read.
//! Next: each file goes through `arrows`, `crates`, `shape` and `text`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::finding::Finding;
use crate::{arrows, crates, rust, shape, text};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", ".git", ".tools", "node_modules", "__pycache__"];
/// Written by a program, checked by `make check` in another way.
const GENERATED: &str = "proto/src/generated/";

pub(crate) struct Repository {
    /// Path from the root with `/`, and the text.
    files: Vec<(String, String)>,
}

impl Repository {
    /// The one this test belongs to, wherever it was built.
    pub(crate) fn here() -> Result<Self> {
        let tests = std::env::var("CARGO_MANIFEST_DIR");
        let tests = tests.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        Self::at(Path::new(&tests).parent().context("tests/ is in it")?)
    }

    /// Any other. Files that are not text are left out.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort();
        Ok(Self { files })
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.missing_twins();
        let mut rust = Vec::new();
        for (path, text) in &self.files {
            findings.extend(text::check(path, text));
            if path.ends_with("Cargo.toml") {
                let checked = crates::check(path, text);
                findings.extend(checked.unwrap_or_else(|error| vec![unreadable(path, &error)]));
            } else if path.ends_with(".rs") {
                match syn::parse_file(text) {
                    Ok(file) => rust.push((path.as_str(), text.as_str(), file)),
                    Err(error) => findings.push(unreadable(path, &error)),
                }
            }
        }
        let tests = test_files(&rust);
        for (path, text, file) in &rust {
            let test = is_test(path, &tests);
            findings.extend(shape::check(path, text, file, test));
            if !test {
                findings.extend(arrows::check(path, file));
            }
        }
        findings
    }

    fn missing_twins(&self) -> Vec<Finding> {
        let names = |folder: &str| -> BTreeSet<&str> {
            self.files.iter().filter_map(|(path, _)| path.strip_prefix(folder)).collect()
        };
        let engines = ["migrations/sqlite/", "migrations/postgres/"];
        let missing = |here: &str, there: &str| -> Vec<Finding> {
            let lonely = names(here);
            let lonely = lonely.difference(&names(there)).copied().collect::<Vec<_>>();
            let told = "is missing, its twin is there. Write both (migrations/README.md)";
            lonely.iter().map(|name| Finding::new(&format!("{there}{name}"), 1, told)).collect()
        };
        let mut findings = missing(engines[0], engines[1]);
        findings.extend(missing(engines[1], engines[0]));
        findings
    }
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> Finding {
    Finding::new(path, 1, format!("cannot be read as what its name says: {error}"))
}

/// Files and folders (ending in `/`) of modules that are declared `#[cfg(test)]`, and of what those declare.
fn test_files(rust: &[(&str, &str, syn::File)]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    loop {
        let modules = rust
            .iter()
            .flat_map(|(path, _, file)| rust::test_modules(path, file, is_test(path, &known)));
        let found: BTreeSet<String> = modules.collect();
        if found.is_subset(&known) {
            return known;
        }
        known.extend(found);
    }
}

fn is_test(path: &str, declared: &BTreeSet<String>) -> bool {
    // The folder `tests` at the root is a crate; within it and every other crate `tests/` holds tests.
    let inner = path.strip_prefix("tests/").unwrap_or(path);
    inner.starts_with("tests/")
        || inner.contains("/tests/") && !inner.contains("/src/")
        || declared.contains(path)
        || declared.iter().any(|folder| folder.ends_with('/') && path.starts_with(folder))
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        let link = path.is_symlink() || SKIPPED.contains(&name);
        if link || format!("{relative}/").starts_with(GENERATED) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.push((relative, text));
        }
    }
    Ok(())
}
