//! Ordinary mail clients at an adapter's door: curl, and Python's imaplib and smtplib.
//!
//! The password goes in by a file, never by an argument. Next: the tests, which read what the clients were told.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::binaries::tests_folder;
use super::command::{Program, Run};
use super::doors::AdapterDoors;
use super::house::{House, private};

/// curl's exit code for a refused login.
pub const CURL_LOGIN_DENIED: Option<i32> = Some(67);

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// In clear.
    Plain,
    /// In clear until STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// Somebody with a login name and a password at both adapters.
#[derive(Clone, Debug)]
pub struct Client {
    login: String,
    folder: PathBuf,
    ca: PathBuf,
    imap: AdapterDoors,
    smtp: AdapterDoors,
    wire: Wire,
}

impl Client {
    /// `login` with `password` at the adapters of `house`, in clear.
    ///
    /// # Errors
    /// There are no adapters, or the password cannot be written down.
    pub fn new(house: &House, login: &str, password: &str) -> Result<Self> {
        let folder = house.folder().join(format!("client-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder)?;
        private(&folder.join("password"), password)?;
        private(&folder.join("curl"), &format!("user = \"{login}:{password}\"\n"))?;
        Ok(Self {
            login: login.to_owned(),
            folder,
            ca: house.ca_file(),
            imap: *house.adapter("imap")?,
            smtp: *house.adapter("smtp")?,
            wire: Wire::Plain,
        })
    }

    /// The same, coming in another way.
    #[must_use]
    pub fn over(&self, wire: Wire) -> Self {
        Self { wire, ..self.clone() }
    }

    /// `curl` at the IMAP adapter; `path` is what follows the host, such as `INBOX;MAILINDEX=1`.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn curl_imap(&self, path: &str) -> Result<Run> {
        self.curl_imap_command(path, &[]).await
    }

    /// `curl` at the IMAP adapter with more arguments, such as `-X NOOP`.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn curl_imap_command(&self, path: &str, more: &[&str]) -> Result<Run> {
        let url = self.url("imap", self.imap, path);
        self.curl().args(more.iter().copied()).arg(url).run().await
    }

    /// `curl` hands `letter` to the SMTP adapter.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn curl_smtp(&self, to: &str, letter: &str) -> Result<Run> {
        let file = self.folder.join("letter");
        std::fs::write(&file, letter)?;
        let url = self.url("smtp", self.smtp, "client.example.test");
        let program = self.curl().args(["--mail-from", &self.login, "--mail-rcpt", to]);
        program.arg("-T").arg(file).arg(url).run().await
    }

    /// `tests/stack/check.py imap` with more arguments: Python's imaplib.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn python_imap(&self, more: &[&str]) -> Result<Run> {
        self.python("imap", self.imap, more).await
    }

    /// `tests/stack/check.py smtp` with more arguments: Python's smtplib.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn python_smtp(&self, more: &[&str]) -> Result<Run> {
        let program = ["--from", self.login.as_str(), "--to", self.login.as_str()];
        self.python("smtp", self.smtp, &[&program[..], more].concat()).await
    }

    /// The file with curl's `user` option.
    pub fn curl_file(&self) -> PathBuf {
        self.folder.join("curl")
    }

    async fn python(&self, kind: &str, doors: AdapterDoors, more: &[&str]) -> Result<Run> {
        let (port, tls) = match self.wire {
            Wire::Plain => (doors.plain.port(), "plain"),
            Wire::StartTls => (doors.starttls.port(), "starttls"),
            Wire::Tls => (doors.tls.port(), "tls"),
        };
        Program::new("python3")
            .arg(tests_folder().join("stack/check.py"))
            .args([kind, "--port", &port.to_string(), "--tls", tls, "--user", &self.login])
            .arg("--password-file")
            .arg(self.folder.join("password"))
            .arg("--cafile")
            .arg(&self.ca)
            .args(more.iter().copied())
            .run()
            .await
    }

    fn curl(&self) -> Program {
        let program = Program::new("curl").args(["-sS", "--max-time", "40", "--cacert"]);
        let program = program.arg(&self.ca).arg("-K").arg(self.folder.join("curl"));
        if self.wire == Wire::StartTls { program.arg("--ssl-reqd") } else { program }
    }

    fn url(&self, scheme: &str, doors: AdapterDoors, path: &str) -> String {
        let (suffix, address) = match self.wire {
            Wire::Plain => ("", doors.plain),
            Wire::StartTls => ("", doors.starttls),
            Wire::Tls => ("s", doors.tls),
        };
        format!("{scheme}{suffix}://localhost:{}/{path}", address.port())
    }
}

/// A short letter with a subject of its own.
pub fn letter(from: &str, to: &str, subject: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\
         Date: Mon, 05 Jan 2026 10:00:00 +0000\r\n\r\nhello from {from}\r\n.dots stay\r\n"
    )
}

/// The line in curl's `--verbose` output with which a server answered, such as `NO [UNAVAILABLE]`.
///
/// # Errors
/// There is none that holds `word`.
pub fn answer_line<'r>(run: &'r Run, word: &str) -> Result<&'r str> {
    run.stderr.lines().find(|line| line.contains(word)).with_context(|| run.to_string())
}

/// Whether `path` is a file that others may not read.
pub fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o077 == 0)
}
