//! Audit records as the broker has stored them, for who recomputes their hashes.

use token_broker::domain::chain::Entry;
use token_broker_client::v1;

/// A record of the API as its row.
pub fn entry(record: v1::AuditRecord) -> Entry {
    let millis = |at: prost_types::Timestamp| at.seconds * 1000 + i64::from(at.nanos / 1_000_000);
    Entry {
        at: record.time.map_or(0, millis),
        chain: record.chain,
        sequence: record.sequence,
        what: record.event,
        project: record.project,
        actor: record.actor,
        account: record.account,
        subject: record.subject,
        granted: i64::from(record.granted),
        reason: record.reason.into(),
        address: record.address,
        detail: record.detail,
        hash: record.hash,
    }
}
