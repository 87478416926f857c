//! A record as an export has it, and its hash.

use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use token_broker_client::v1;

use super::hex;
use crate::when::iso;

/// The first line of an export calls itself so.
pub(crate) const FORMAT: &str = "token-broker/audit-export/1";

/// The first line of an export: where each chain begins and ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    /// In hexadecimal digits, as all bytes here.
    pub(crate) instance: String,
    pub(crate) chains: Vec<Ends>,
}

/// A chain: the newest record that is gone, and the newest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) chain: String,
    pub(crate) floor_sequence: i64,
    pub(crate) floor_hash: String,
    pub(crate) head_sequence: i64,
    pub(crate) head_hash: String,
}

/// Every other line: a record with all its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) chain: String,
    pub(crate) sequence: i64,
    /// Milliseconds since 1970, which the hash is over.
    pub(crate) time_ms: i64,
    /// The same for people.
    #[serde(default)]
    pub(crate) time: Option<String>,
    pub(crate) event: String,
    pub(crate) project: String,
    pub(crate) actor: String,
    pub(crate) account: String,
    pub(crate) subject: String,
    pub(crate) granted: bool,
    /// The number of the contract's `ErrorReason`.
    pub(crate) reason: i32,
    pub(crate) address: String,
    pub(crate) detail: String,
    pub(crate) hash: String,
}

impl Header {
    /// What the broker says of its chains.
    pub(crate) fn of(chains: &v1::ListAuditChainsResponse) -> Self {
        let ends = |chain: &v1::AuditChain| Ends {
            chain: chain.chain.clone(),
            floor_sequence: chain.floor_sequence,
            floor_hash: hex(&chain.floor_hash),
            head_sequence: chain.head_sequence,
            head_hash: hex(&chain.head_hash),
        };
        Self {
            format: FORMAT.to_owned(),
            instance: hex(&chains.instance),
            chains: chains.chains.iter().map(ends).collect(),
        }
    }
}

impl From<v1::AuditRecord> for Record {
    fn from(record: v1::AuditRecord) -> Self {
        Self {
            chain: record.chain,
            sequence: record.sequence,
            time_ms: record.time.map_or(0, millis),
            time: iso(record.time),
            event: record.event,
            project: record.project,
            actor: record.actor,
            account: record.account,
            subject: record.subject,
            granted: record.granted,
            reason: record.reason,
            address: record.address,
            detail: record.detail,
            hash: hex(&record.hash),
        }
    }
}

impl Record {
    /// Its hash if it stood at `sequence` behind a record with the hash `previous`, in hexadecimal digits.
    pub(crate) fn link(&self, sequence: i64, previous: &[u8]) -> String {
        let mut form = Form::default();
        form.part(b"token-broker/rights/1").part(b"audit").part(&[0; 16]);
        form.part(&sequence.unsigned_abs().to_be_bytes());
        // The chain of changes is older than the names.
        if !self.chain.is_empty() {
            form.column("chain", b"t", self.chain.as_bytes());
        }
        form.column("previous", b"b", previous);
        form.column("at", b"n", &self.time_ms.to_be_bytes());
        form.column("what", b"t", self.event.as_bytes());
        form.column("project", b"t", self.project.as_bytes());
        form.column("actor", b"t", self.actor.as_bytes());
        form.column("account", b"t", self.account.as_bytes());
        form.column("subject", b"t", self.subject.as_bytes());
        form.column("granted", b"n", &i64::from(self.granted).to_be_bytes());
        form.column("reason", b"n", &i64::from(self.reason).to_be_bytes());
        form.column("address", b"t", self.address.as_bytes());
        form.column("detail", b"t", self.detail.as_bytes());
        form.digest()
    }
}

/// What a record of pruning says of all floors together.
pub(crate) fn digest_of_floors<'f>(
    floors: impl Iterator<Item = (&'f str, i64, Vec<u8>)>,
) -> String {
    let mut form = Form::default();
    form.part(b"token-broker/rights/1").part(b"audit_floors").part(&[0; 16]);
    form.part(&0_u64.to_be_bytes());
    for (chain, sequence, hash) in floors {
        form.column("chain", b"t", chain.as_bytes());
        form.column("sequence", b"n", &sequence.to_be_bytes());
        form.column("hash", b"b", &hash);
    }
    form.digest()
}

/// Parts, each behind its length in bytes as 8 bytes, big-endian.
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    fn column(&mut self, name: &str, kind: &[u8], value: &[u8]) {
        self.part(name.as_bytes()).part(kind).part(value);
    }

    fn digest(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }
}

fn millis(at: Timestamp) -> i64 {
    at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_a_broker_of_the_first_schema_wrote_has_the_hash_it_wrote() {
        let record = Record {
            chain: String::new(),
            sequence: 1,
            time_ms: 1_795_710_983_928,
            time: None,
            event: "caller.created".into(),
            project: "default".into(),
            actor: "init".into(),
            account: String::new(),
            subject: "callers/admin".into(),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: String::new(),
            hash: String::new(),
        };
        let hash = "c2ada8084b97eb3de4eac009061a14e9ba5786c29967765a564ea2f96b89f9ef";
        assert_eq!(record.link(1, &[]), hash);
        assert_ne!(record.link(2, &[]), hash);
        assert_ne!(Record { chain: "broker".into(), ..record }.link(1, &[]), hash);
    }
}
