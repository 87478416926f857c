//! What scripts see, fixed; and how people see it.
//!
//! Never carries a secret but where one is made or asked for (`Issued`, `TokenView`). Invariant, stable: field names
//! are snake_case and stay, fields are added and never renamed, times are RFC 3339 in UTC, absent values are null,
//! enums are lower-case words, lists stand under their plural name. Next: `output::Output::show`.

pub(crate) mod account;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod caller;
pub(crate) mod consent;
pub(crate) mod credential;
pub(crate) mod credential_use;
pub(crate) mod diagnosis;
mod refresh;
pub(crate) mod status;
pub(crate) mod token;

use std::collections::BTreeMap;

use serde::Serialize;
use token_broker_client::v1::{ErrorReason, MailProtocol};

use crate::output::{Screen, View};
use crate::secrets::Shown;

/// The lower-case word of an enum value: its name in the contract without the prefix. `unspecified` becomes nothing.
pub(crate) fn word(name: &str, prefix: &str) -> Option<String> {
    let bare = name.trim_start_matches(prefix);
    (bare != "UNSPECIFIED").then(|| bare.to_ascii_lowercase())
}

/// An error reason as the contract writes it, such as `ACCOUNT_NEEDS_CONSENT`.
pub(crate) fn reason(reason: ErrorReason) -> Option<String> {
    let bare = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    (reason != ErrorReason::Unspecified).then(|| bare.to_owned())
}

/// `imap`, `smtp`, `pop3`.
pub(crate) fn protocols(all: impl Iterator<Item = MailProtocol>) -> Vec<String> {
    all.filter_map(|protocol| word(protocol.as_str_name(), "MAIL_PROTOCOL_")).collect()
}

/// Nothing for an empty text.
pub(crate) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Labels in a fixed order.
pub(crate) fn ordered(
    labels: std::collections::HashMap<String, String>,
) -> BTreeMap<String, String> {
    labels.into_iter().collect()
}

/// `key=value, key=value`.
pub(crate) fn joined(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

/// What was made or changed together with the secret it came with, shown once.
#[derive(Serialize)]
pub(crate) struct Issued<T> {
    /// The thing itself.
    #[serde(flatten)]
    thing: T,
    /// The secret, unless it went into a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The file the secret went into.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<String>,
    #[serde(skip)]
    label: &'static str,
}

impl<T> Issued<T> {
    pub(crate) fn new(thing: T, label: &'static str, shown: Shown) -> Self {
        let (secret, secret_file) = match shown {
            Shown::Secret(secret) => (Some(secret), None),
            Shown::File(path) => (None, Some(path)),
        };
        Self { thing, secret, secret_file, label }
    }

    /// Whether the secret is on the screen now.
    pub(crate) fn is_shown(&self) -> bool {
        self.secret.is_some()
    }
}

impl<T: View> View for Issued<T> {
    fn draw(&self, screen: &Screen) -> String {
        let secret = self.secret.clone().unwrap_or_default();
        let file = self.secret_file.clone().unwrap_or_default();
        let secret = screen.record(&[(self.label, secret), ("Written to", file)]);
        format!("{}\n\n{secret}", self.thing.draw(screen))
    }
}

/// What is gone.
#[derive(Serialize)]
pub(crate) struct Deleted {
    /// Its name.
    pub(crate) deleted: String,
}

impl View for Deleted {
    fn draw(&self, _: &Screen) -> String {
        format!("Deleted {}", crate::output::plain(&self.deleted))
    }
}
