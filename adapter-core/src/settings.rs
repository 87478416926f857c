//! What an operator may say, checked: one TOML file, environment variables and flags.
//!
//! Never starts half: whatever is wrong is told before a socket opens, with file, line, field and remedy. Invariant: a
//! [`Settings`] that exists can be used; what is beyond it (a busy port, a broken certificate) is named when it is met. Next:
//! `adapter` builds everything from this.

mod check;
mod file;
mod flags;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use zeroize::Zeroizing;

pub use flags::Flags;

use crate::limits::Limits;
use crate::tls::CertificateFiles;

/// Everything an adapter needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name in greetings.
    pub server_name: String,
    /// Where clients come in; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The server's certificate; there is one if any listener needs it.
    pub certificate: Option<CertificateFiles>,
    /// The broker.
    pub broker: BrokerSettings,
    /// Further roots for providers' servers, PEM.
    pub upstream_ca_file: Option<PathBuf>,
    /// Where health and metrics are; nowhere if absent.
    pub ops: Option<SocketAddr>,
    /// Bounds.
    pub limits: Limits,
    /// Logging.
    pub log: LogSettings,
}

/// One address clients may come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// IP and port.
    pub address: SocketAddr,
    /// How a connection begins.
    pub tls: ListenerTls,
    /// Load balancers that must tell the client's address; none means that there is no such header.
    pub proxy_protocol: Option<Vec<IpNet>>,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// In TLS (RFC 8314).
    Implicit,
    /// In clear, with STARTTLS required before a login unless the client is on this machine.
    StartTls,
    /// In clear; only on loopback.
    Plain,
}

/// How the broker is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// `https://..`, or `http://` on loopback; tried in this order.
    pub endpoints: Vec<String>,
    /// The API key `tbk_..`.
    pub key: Zeroizing<String>,
    /// Further roots for the broker's certificate, PEM.
    pub ca_pem: Option<String>,
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerSettings({:?}, [secret])", self.endpoints)
    }
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// JSON lines, or text for people.
    pub json: bool,
    /// As `tracing-subscriber` reads it: `info`, `adapter_core=debug`.
    pub filter: String,
}

/// What is wrong, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {problem}. Name an existing file with --config", .file.display())]
    Unreadable {
        /// Which one.
        file: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// A field is wrong.
    #[error("{place}: {field}: {problem}. {remedy}")]
    Wrong {
        /// `file:line`, or the flag's group.
        place: String,
        /// The field as it is written in the file.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

impl Settings {
    /// Reads the file that `flags` name, if any, lets flags and environment override it, and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(flags: &Flags) -> Result<Self, SettingsError> {
        let (text, name) = match &flags.config {
            None => (String::new(), PathBuf::from("flags")),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    SettingsError::Unreadable { file: file.clone(), problem: error.to_string() }
                })?;
                (text, file.clone())
            }
        };
        file::File::parse(&text, &name)?.check(flags)
    }

    /// The sample configuration, which is also the reference of all fields.
    pub const SAMPLE: &'static str = include_str!("settings/sample.toml");
}

/// Reads a key that nobody else may read.
fn secret_file(path: &Path) -> Result<Zeroizing<String>, (String, String)> {
    let problem = |error: std::io::Error| {
        (format!("{}: {error}", path.display()), "Name a file that holds the key".to_owned())
    };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(problem)?);
    private(path).map_err(problem)?;
    let key = text.trim();
    if !key.starts_with("tbk_") || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err((
            format!("{} holds no API key", path.display()),
            "Put the adapter's key tbk_.. into it and nothing else".to_owned(),
        ));
    }
    Ok(Zeroizing::new(key.to_owned()))
}

fn private(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let problem = format!("others may read it (mode {mode:03o}); run chmod 600 on it");
            return Err(std::io::Error::other(problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
