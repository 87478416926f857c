//! The file as it may be written, and how one points into it.
//!
//! Never judges a value. Invariant: unknown fields are errors, and every error knows the line it is about.
//! Next: `check` makes settings of it.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::SettingsError;

/// The file with what is needed to point into it.
pub(super) struct File<'a> {
    pub(super) outer: Outer,
    text: &'a str,
    name: &'a Path,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Outer {
    pub(super) server_name: Option<Spanned<String>>,
    pub(super) listener: Vec<Listener>,
    pub(super) tls: Option<Tls>,
    pub(super) broker: Broker,
    pub(super) upstream: Upstream,
    pub(super) ops: Ops,
    pub(super) limits: Bounds,
    pub(super) log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) address: Spanned<String>,
    pub(super) tls: Spanned<String>,
    pub(super) proxy_protocol: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Broker {
    pub(super) endpoints: Vec<Spanned<String>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) client_certificate: Option<Spanned<PathBuf>>,
    pub(super) client_key: Option<Spanned<PathBuf>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) helo_name: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ops {
    pub(super) address: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Bounds {
    pub(super) tls_seconds: Option<Spanned<u32>>,
    pub(super) login_seconds: Option<Spanned<u32>>,
    pub(super) dial_seconds: Option<Spanned<u32>>,
    pub(super) upstream_login_seconds: Option<Spanned<u32>>,
    pub(super) idle_seconds: Option<Spanned<u32>>,
    pub(super) orphan_ttl_seconds: Option<Spanned<u32>>,
    pub(super) drain_seconds: Option<u32>,
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) unauthenticated_per_ip: Option<Spanned<u32>>,
    pub(super) attempts: Option<Spanned<u8>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<Spanned<String>>,
    pub(super) level: Option<String>,
}

impl<'a> File<'a> {
    pub(super) fn parse(text: &'a str, name: &'a Path) -> Result<Self, SettingsError> {
        let outer = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let remedy = "See --print-sample for every field and its form".to_owned();
            wrong(text, name, &span, (error.message().to_owned(), remedy))
        })?;
        Ok(Self { outer, text, name })
    }

    pub(super) fn address(&self, text: &Spanned<String>) -> Result<SocketAddr, SettingsError> {
        text.get_ref().parse().or_else(|_| {
            self.wrong(text, "not an address", "Write IP:PORT, for example 127.0.0.1:1143")
        })
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.name.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(super) fn wrong<T, V>(
        &self,
        value: &Spanned<V>,
        problem: &str,
        remedy: &str,
    ) -> Result<T, SettingsError> {
        Err(self.wrong_at(&value.span(), (problem, remedy)))
    }

    pub(super) fn wrong_at(
        &self,
        span: &Range<usize>,
        (problem, remedy): (&str, &str),
    ) -> SettingsError {
        wrong(self.text, self.name, span, (problem.to_owned(), remedy.to_owned()))
    }

    pub(super) fn missing<T>(&self, field: &str, remedy: &str) -> Result<T, SettingsError> {
        Err(SettingsError::Wrong {
            place: self.name.display().to_string(),
            field: field.to_owned(),
            problem: "missing".to_owned(),
            remedy: remedy.to_owned(),
        })
    }
}

pub(super) fn flag(name: &str, (problem, remedy): (&str, &str)) -> SettingsError {
    SettingsError::Wrong {
        place: "command line".to_owned(),
        field: name.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn wrong(
    text: &str,
    name: &Path,
    span: &Range<usize>,
    (problem, remedy): (String, String),
) -> SettingsError {
    let before = text.get(..span.start).unwrap_or("");
    let line = before.matches('\n').count();
    let table = before.lines().rev().find_map(|line| line.trim().strip_prefix('['));
    let table = table.map(|rest| rest.trim_matches(|c: char| "[] ".contains(c)));
    // A value in a list of several lines belongs to the last key before it.
    let mut lines = text.lines().take(line + 1).collect::<Vec<_>>().into_iter().rev();
    let key = lines.find_map(|line| line.split_once('=').map(|(key, _)| key.trim()));
    let field: Vec<_> = table.into_iter().chain(key).collect();
    SettingsError::Wrong {
        place: format!("{}:{}", name.display(), line + 1),
        field: if field.is_empty() { "file".to_owned() } else { field.join(".") },
        problem,
        remedy,
    }
}
