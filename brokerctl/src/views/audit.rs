//! Audit records as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{reason, some, word};
use crate::failure::Failure;
use crate::names;
use crate::output::{Output, Screen, View, plain};
use crate::proof::hex;
use crate::proof::inspector::{Attested, Verdict};
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
    project: String,
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
            project: record.project,
            time: iso(record.time),
            event: record.event,
            actor: record.actor,
            account: some(record.account),
            subject: some(record.subject),
            detail: some(record.detail),
            granted: record.granted,
            address: some(record.address),
            hash: hex(&record.hash),
        }
    }
}

impl RecordView {
    /// For people, with `time` as they like it.
    fn cells(&self, time: String) -> Vec<String> {
        let refused = || self.reason.clone().unwrap_or_else(|| "refused".into());
        let about = [&self.account, &self.subject, &self.detail];
        let about: Vec<_> = about.into_iter().flatten().map(|name| names::id(name)).collect();
        vec![
            match self.chain.as_str() {
                "" => self.sequence.to_string(),
                chain => format!("{chain}/{}", self.sequence),
            },
            time,
            self.event.clone(),
            names::id(&self.actor).into(),
            about.join(" "),
            if self.granted { "granted".into() } else { refused() },
            self.address.clone().unwrap_or_default(),
        ]
    }
}

/// One record on one line, for who follows them.
pub(crate) fn line(record: &v1::AuditRecord, json: bool) -> Result<String, Failure> {
    let view = RecordView::from(record.clone());
    if json {
        return serde_json::to_string(&view).map_err(|error| Failure::Output(error.into()));
    }
    let time = view.time.clone().unwrap_or_default();
    let cells = view.cells(time).into_iter().filter(|cell| !cell.is_empty());
    Ok(plain(&cells.collect::<Vec<_>>().join("  ")).replace('\n', " "))
}

impl From<Vec<v1::AuditRecord>> for AuditView {
    fn from(records: Vec<v1::AuditRecord>) -> Self {
        Self { records: records.into_iter().map(Into::into).collect() }
    }
}

impl View for AuditView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.records.iter().map(|record| record.cells(screen.time(&record.time)));
        let heading = ["NO", "WHEN", "EVENT", "WHO", "ABOUT", "OUTCOME", "FROM"];
        screen.table(&heading, rows.collect(), "No records.")
    }
}

/// What an export has become.
#[derive(Serialize)]
pub(crate) struct ExportView {
    pub(crate) file: String,
    pub(crate) records: u64,
    pub(crate) chains: usize,
}

impl View for ExportView {
    fn draw(&self, _: &Screen) -> String {
        let file = plain(&self.file);
        format!(
            "{} records of {} chains in {file}\nVerify it: brokerctl audit verify --file {file}",
            self.records, self.chains
        )
    }
}

/// Who signs checkpoints.
#[derive(Serialize)]
pub(crate) struct KeysView {
    instance: String,
    /// Whether the broker that answers writes checkpoints.
    checkpointed: bool,
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
struct KeyView {
    term: u32,
    /// Ed25519, in hexadecimal digits.
    public_key: String,
}

impl From<v1::ListAuditChainsResponse> for KeysView {
    fn from(of: v1::ListAuditChainsResponse) -> Self {
        let key = |key: &v1::AuditKey| KeyView { term: key.term, public_key: hex(&key.public_key) };
        Self {
            instance: hex(&of.instance),
            checkpointed: of.checkpointed,
            keys: of.keys.iter().map(key).collect(),
        }
    }
}

impl View for KeysView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.keys.iter().map(|key| vec![key.term.to_string(), key.public_key.clone()]);
        let table = screen.table(&["TERM", "PUBLIC KEY"], rows.collect(), "No keys.");
        let on = match self.checkpointed {
            true => "Keep a copy of this where the broker cannot write.",
            false => "No checkpoints are written: set [audit] checkpoint_file.",
        };
        format!("Instance {}\n\n{table}\n\n{on}", self.instance)
    }
}

/// Whether the audit is whole.
#[derive(Serialize)]
pub(crate) struct ProofView {
    intact: bool,
    /// `broker`, or `brokerctl` if this tool has recomputed it.
    checked_by: &'static str,
    records: i64,
    chains: Vec<ChainView>,
    checkpoints: Option<AttestedView>,
}

#[derive(Serialize)]
struct ChainView {
    /// Empty for the chain of changes.
    chain: String,
    first_sequence: i64,
    last_sequence: i64,
    records: i64,
    /// `edited`, `missing`, `reordered`, `truncated`, `head`, `floor`, `rewritten`.
    flaw: Option<String>,
    bad_sequence: Option<i64>,
    detail: Option<String>,
}

#[derive(Serialize)]
struct AttestedView {
    /// The record was as the checkpoint says.
    matched: u64,
    /// The record was removed by retention since.
    pruned: u64,
    /// Lines that are no checkpoints, such as one that a crash cut.
    unreadable: u64,
}

impl ProofView {
    /// As the broker says.
    pub(crate) fn by_the_broker(verdicts: Vec<v1::AuditChainVerdict>) -> Self {
        let chain = |of: v1::AuditChainVerdict| {
            let flaw = word(of.flaw().as_str_name(), "AUDIT_FLAW_");
            ChainView {
                bad_sequence: flaw.is_some().then_some(of.bad_sequence),
                chain: of.chain,
                first_sequence: of.first_sequence,
                last_sequence: of.last_sequence,
                records: of.records,
                flaw,
                detail: some(of.detail),
            }
        };
        Self::new("broker", verdicts.into_iter().map(chain).collect(), None)
    }

    /// As was recomputed here.
    pub(crate) fn here(verdicts: Vec<Verdict>, attested: Option<Attested>) -> Self {
        let chain = |of: Verdict| ChainView {
            bad_sequence: of.fault.as_ref().map(|fault| fault.sequence),
            flaw: of.fault.as_ref().map(|fault| fault.flaw.to_owned()),
            detail: of.fault.map(|fault| fault.detail),
            chain: of.chain,
            first_sequence: of.first,
            last_sequence: of.last,
            records: of.records,
        };
        let attested = attested.map(|Attested { matched, pruned, unreadable }| AttestedView {
            matched,
            pruned,
            unreadable,
        });
        Self::new("brokerctl", verdicts.into_iter().map(chain).collect(), attested)
    }

    fn new(
        checked_by: &'static str,
        chains: Vec<ChainView>,
        checkpoints: Option<AttestedView>,
    ) -> Self {
        let intact = chains.iter().all(|chain| chain.flaw.is_none());
        let records = chains.iter().map(|chain| chain.records).sum();
        Self { intact, checked_by, records, chains, checkpoints }
    }

    /// Shows it; an error that names the first bad records if there are some.
    pub(crate) fn tell(&self, out: &Output) -> Result<(), Failure> {
        out.show(self)?;
        let bad = self.chains.iter().filter_map(|chain| {
            let (flaw, number) = (chain.flaw.as_ref()?, chain.bad_sequence?);
            let detail = chain.detail.as_deref().unwrap_or_default();
            Some(format!("{}, record {number}: {flaw}: {detail}", chain.name()))
        });
        let bad: Vec<_> = bad.collect();
        if bad.is_empty() {
            return Ok(());
        }
        let remedy =
            "keep the database as it is, and compare with exports and backups; docs/audit.md";
        Err(Failure::Broken { what: bad.join("; "), remedy: remedy.into() })
    }
}

impl ChainView {
    fn name(&self) -> String {
        if self.chain.is_empty() { "changes".into() } else { format!("chain {}", self.chain) }
    }
}

impl View for ProofView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.chains.iter().map(|chain| {
            vec![
                chain.name(),
                chain.first_sequence.to_string(),
                chain.last_sequence.to_string(),
                chain.records.to_string(),
                match (&chain.flaw, chain.bad_sequence) {
                    (Some(flaw), Some(number)) => format!("{flaw} at {number}"),
                    _ => "ok".to_owned(),
                },
            ]
        });
        let heading = ["CHAIN", "FROM", "TO", "RECORDS", "OUTCOME"];
        let table = screen.table(&heading, rows.collect(), "No chains.");
        match &self.checkpoints {
            None => table,
            Some(it) => format!(
                "{table}\n\nCheckpoints: {} match, {} are of records that were pruned since, {} lines are none",
                it.matched, it.pruned, it.unreadable
            ),
        }
    }
}
