//! What went wrong, in two lines: what, and what to do; and the exit code.
//!
//! Never carries a secret. Invariant: the exit code is decided here and nowhere else, by who has to act. JSON shape,
//! stable: `{"error": {"kind", "exit_code", "message", "remedy", "reason"?, "field"?, "link"?,
//! "retry_after_seconds"?}}`.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use token_broker_client::Error;

use crate::output::plain;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client says so: the broker answered, or could not be asked.
    Broker(Error),
    /// Wrong usage or set-up on this machine.
    Usage { what: String, remedy: String },
    /// Somebody said no in an answer that is no gRPC error.
    Refused { what: String, remedy: String },
    /// Nobody consented in time.
    NoConsent { what: String, remedy: String },
    /// Looked into, something was found that somebody has to mend.
    Found { what: String, remedy: String },
    /// Not in time; it may be later.
    Busy { what: String, remedy: String },
    /// The audit is not as it was written.
    Broken { what: String, remedy: String },
    /// stdout is gone.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), remedy: remedy.into() }
    }

    /// The machine would not do what every machine does.
    pub(crate) fn local(error: io::Error) -> Self {
        Self::usage(format!("this machine refuses: {error}"), "check its limits and permissions")
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// As `brokerctl --help` documents them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Broken { .. } | Self::Output(_) => 1,
            Self::Usage { .. } => 2,
            Self::NoConsent { .. } => 4,
            Self::Busy { .. } => 5,
            Self::Found { .. } => 7,
            Self::Broker(error) => match error {
                Error::Options { .. } => 2,
                Error::NotPermitted { .. }
                | Error::NotFound { .. }
                | Error::Unauthenticated { .. } => 3,
                Error::NeedsConsent { .. } => 4,
                Error::Unreachable { .. } => 6,
                error if error.is_retryable() => 5,
                _ => 1,
            },
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Output(_) => "output",
            Self::Refused { .. } => "refused",
            Self::Usage { .. } => "usage",
            Self::NoConsent { .. } => "needs_consent",
            Self::Found { .. } => "found",
            Self::Busy { .. } => "unavailable",
            Self::Broken { .. } => "broken",
            Self::Broker(_) => match self.exit_code() {
                2 => "usage",
                3 => "not_permitted",
                4 => "needs_consent",
                5 => "unavailable",
                6 => "unreachable",
                _ => "refused",
            },
        }
    }

    /// What went wrong, for a page in the browser.
    pub(crate) fn words(&self) -> String {
        self.what()
    }

    fn what(&self) -> String {
        match self {
            Self::Broker(Error::Invalid { message, field, .. }) if !field.is_empty() => {
                format!("{message} ({field})")
            }
            Self::Broker(error) => error.to_string(),
            Self::Usage { what, .. }
            | Self::Refused { what, .. }
            | Self::Found { what, .. }
            | Self::Busy { what, .. }
            | Self::Broken { what, .. }
            | Self::NoConsent { what, .. } => what.clone(),
            Self::Output(error) => format!("cannot write the answer: {error}"),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Broker(error) => remedy_of(error),
            Self::Usage { remedy, .. }
            | Self::Refused { remedy, .. }
            | Self::Found { remedy, .. }
            | Self::Busy { remedy, .. }
            | Self::Broken { remedy, .. }
            | Self::NoConsent { remedy, .. } => remedy.clone(),
            Self::Output(_) => "check the disk or the program that reads it".into(),
        }
    }

    /// Two lines on stderr, or one JSON object.
    pub(crate) fn print(&self, json: bool) {
        let text = if json {
            self.as_json().to_string()
        } else {
            format!("error: {}\n  try: {}", plain(&self.what()), plain(&self.remedy()))
        };
        // If stderr is gone too, the exit code has to do.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn as_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("kind".into(), self.kind().into());
        error.insert("exit_code".into(), self.exit_code().into());
        error.insert("message".into(), self.what().into());
        error.insert("remedy".into(), self.remedy().into());
        if let Self::Broker(broker) = self {
            add_details(&mut error, broker);
        }
        json!({ "error": error })
    }
}

fn add_details(shown: &mut Map<String, Value>, error: &Error) {
    if let Some(reason) = error.reason() {
        let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
        shown.insert("reason".into(), name.into());
    }
    if let Some(wait) = error.retry_after() {
        shown.insert("retry_after_seconds".into(), wait.as_secs_f64().into());
    }
    match error {
        Error::NeedsConsent { link: Some(link), .. } => {
            shown.insert("link".into(), link.as_str().into());
        }
        Error::Invalid { field, .. } if !field.is_empty() => {
            shown.insert("field".into(), field.as_str().into());
        }
        _ => {}
    }
}

fn remedy_of(error: &Error) -> String {
    match error {
        Error::NeedsConsent { link: Some(link), .. } => {
            format!("have the mailbox owner open {link}")
        }
        Error::MinTtlUnattainable { max_ttl: Some(most), .. } => {
            format!("ask for at most --min-ttl {}s", most.as_secs())
        }
        Error::Invalid { remedy, .. } if !remedy.is_empty() => remedy.clone(),
        Error::Options { remedy, .. } => remedy.clone(),
        Error::Internal { incident, .. } if !incident.is_empty() => {
            format!("look for incident {incident} in the broker's log")
        }
        error => match error.retry_after() {
            Some(wait) => format!("try again in {} s", wait.as_secs().max(1)),
            None => usual_remedy(error).into(),
        },
    }
}

/// What helps as a rule, where the error itself does not say.
fn usual_remedy(error: &Error) -> &'static str {
    match error {
        Error::NeedsConsent { .. } => {
            "invite the owner: brokerctl account invite --app APP --mailbox MAILBOX"
        }
        Error::BlockedByPolicy { .. } => {
            "ask the administrator of the mailbox's domain to allow the app"
        }
        Error::AccountDisabled { .. } => "brokerctl account enable ACCOUNT, or connect it anew",
        Error::AppRejected { .. } => {
            "brokerctl app verify APP; a new secret: brokerctl app add-secret APP"
        }
        Error::AppDisabled { .. } => "brokerctl app update APP --enable",
        Error::MinTtlUnattainable { .. } => "ask for a shorter --min-ttl",
        Error::Invalid { .. } => "correct the value; --help of the command says what it takes",
        Error::NotFound { .. } => "the matching `list` command shows what there is",
        Error::NotPermitted { .. } => {
            "check the name, and what your key may do: brokerctl caller whoami"
        }
        Error::Unauthenticated { .. } => {
            "check the key: --key-file FILE, BROKERCTL_KEY_FILE or BROKERCTL_KEY"
        }
        Error::Conflict { .. } => "look at it again with `show`, then decide",
        Error::NotUsable { .. } => {
            "mend what it says and start again; a consent can be used once and only for a time"
        }
        Error::Unreachable { .. } => "start the broker, or name the right one with --server URL",
        Error::Internal { .. } => "look into the broker's log",
        error if error.is_retryable() => "try again in a moment",
        _ => "check that brokerctl and broker are of the same version: brokerctl status",
    }
}
