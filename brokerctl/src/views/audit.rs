//! Audit records as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{reason, some};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// Records, newest first.
#[derive(Serialize)]
pub(crate) struct AuditView {
    records: Vec<RecordView>,
}

#[derive(Serialize)]
struct RecordView {
    /// Empty for the chain of changes.
    chain: String,
    sequence: i64,
    time: Option<String>,
    event: String,
    actor: String,
    account: Option<String>,
    subject: Option<String>,
    detail: Option<String>,
    granted: bool,
    reason: Option<String>,
    address: Option<String>,
    /// In hexadecimal digits.
    hash: String,
}

impl From<v1::AuditRecord> for RecordView {
    fn from(record: v1::AuditRecord) -> Self {
        Self {
            reason: reason(record.reason()),
            chain: record.chain,
            sequence: record.sequence,
            time: iso(record.time),
            event: record.event,
            actor: record.actor,
            account: some(record.account),
            subject: some(record.subject),
            detail: some(record.detail),
            granted: record.granted,
            address: some(record.address),
            hash: record.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl From<Vec<v1::AuditRecord>> for AuditView {
    fn from(records: Vec<v1::AuditRecord>) -> Self {
        Self { records: records.into_iter().map(Into::into).collect() }
    }
}

impl View for AuditView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.records.iter().map(|record| {
            let refused = || record.reason.clone().unwrap_or_else(|| "refused".into());
            let about = [&record.account, &record.subject, &record.detail];
            let about: Vec<_> = about.into_iter().flatten().map(|name| names::id(name)).collect();
            vec![
                match record.chain.as_str() {
                    "" => record.sequence.to_string(),
                    chain => format!("{chain}/{}", record.sequence),
                },
                screen.time(&record.time),
                record.event.clone(),
                names::id(&record.actor).into(),
                about.join(" "),
                if record.granted { "granted".into() } else { refused() },
                record.address.clone().unwrap_or_default(),
            ]
        });
        let heading = ["NO", "WHEN", "EVENT", "WHO", "ABOUT", "OUTCOME", "FROM"];
        screen.table(&heading, rows.collect(), "No records.")
    }
}
