//! What an operator may say, checked: one TOML file, environment variables and flags.
//!
//! Never starts half: whatever is wrong is told before a socket opens, with file, line, field and remedy. Invariant: a
//! [`Settings`] that exists can be used; what is beyond it (a busy port, a broken certificate) is named when it is met. Next:
//! `adapter` builds everything from this.

mod check;
mod file;
mod flags;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use token_broker_client::Options;

pub use flags::Flags;

use crate::limits::Limits;
use crate::tls::CertificateFiles;

/// Where the broker is if nobody says.
pub const BROKER: &str = "http://127.0.0.1:8640";
/// What SMTP's EHLO says if nobody names a name: an address literal, which RFC 5321 section 4.1.4 wants of a client that has no
/// name of its own. The true address is none of the provider's business.
pub const NAMELESS: &str = "[127.0.0.1]";

/// Everything an adapter needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in greetings.
    pub server_name: String,
    /// Where clients come in; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The server's certificate; there is one if any listener needs it.
    pub certificate: Option<CertificateFiles>,
    /// How the broker is reached.
    pub broker: Options,
    /// How providers' servers are reached.
    pub upstream: UpstreamSettings,
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

/// How providers' servers are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Further roots for their certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// What the adapter calls itself there: a host name or an address literal (RFC 5321 section 4.1.3).
    pub helo_name: String,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self { ca_file: None, helo_name: NAMELESS.to_owned() }
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

#[cfg(test)]
mod tests;
