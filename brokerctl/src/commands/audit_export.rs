//! `brokerctl audit export`: all records of all chains, for keeping and for verifying anywhere.
//!
//! Never leaves half a file behind under the name that was asked for. Next: `proof::record` says what a line is.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use token_broker_client::v1;

use crate::failure::Failure;
use crate::proof::record::{Header, Record};
use crate::session::Session;
use crate::views::audit::ExportView;

const PAGE: i32 = 500;

/// `audit export`
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// A new file, mode 0600; - is stdout
    file: PathBuf,
}

impl Export {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let chains = chains(session).await?;
        if self.file == Path::new("-") {
            let mut out = BufWriter::new(io::stdout());
            write(session, &chains, &mut out).await?;
            return out.flush().map_err(Failure::Output);
        }
        let refused = |error: io::Error| {
            let what = format!("cannot write {}: {error}", self.file.display());
            Failure::usage(what, "name a new file in a folder that you can write")
        };
        if self.file.exists() {
            return Err(refused(io::ErrorKind::AlreadyExists.into()));
        }
        let mut part = self.file.clone().into_os_string();
        part.push(".part");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut out = BufWriter::new(file.map_err(refused)?);
        let records = write(session, &chains, &mut out).await?;
        let file: File = out.into_inner().map_err(|error| refused(error.into_error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&part, &self.file)).map_err(refused)?;
        let chains = chains.chains.len();
        session.out.show(&ExportView { file: self.file.display().to_string(), records, chains })
    }
}

/// Where the chains begin and end now.
pub(crate) async fn chains(session: &Session) -> Result<v1::ListAuditChainsResponse, Failure> {
    let ask = v1::ListAuditChainsRequest {};
    Ok(session.admin.ask(session.admin.audit().list_audit_chains(ask)).await?)
}

/// Fetches all records of all chains, in order, up to where the chains ended when they were asked for; how many.
pub(crate) async fn download(
    session: &Session,
    all: &v1::ListAuditChainsResponse,
    mut take: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let size = |chain: &v1::AuditChain| (chain.head_sequence - chain.floor_sequence).max(0);
    let total = all.chains.iter().map(size).sum::<i64>();
    let bar = session.out.bar("records", u64::try_from(total).unwrap_or(0));
    for chain in &all.chains {
        // A chain without a head is taken as far as it goes.
        let end = if chain.head_sequence == 0 { i64::MAX } else { chain.head_sequence };
        let mut after = chain.floor_sequence;
        while after < end {
            let name = chain.chain.clone();
            let ask = v1::ExportAuditRecordsRequest {
                chain: name,
                after_sequence: after,
                page_size: PAGE,
            };
            let page = session.admin.ask(session.admin.audit().export_audit_records(ask)).await?;
            let records = page.records;
            after = records.last().map_or(i64::MAX, |record| record.sequence);
            for record in records.into_iter().filter(|record| record.sequence <= end) {
                take(record.into())?;
                bar.inc(1);
            }
        }
    }
    let floors = |all: &v1::ListAuditChainsResponse| -> Vec<_> {
        all.chains.iter().map(|chain| chain.floor_sequence).collect()
    };
    let now = chains(session).await?;
    // Chains that are new since then may stand anywhere between.
    let same = now.chains.len() != all.chains.len() || floors(&now) == floors(all);
    bar.finish_and_clear();
    if !same {
        let what = "old records were removed meanwhile".to_owned();
        return Err(Failure::Refused { what, remedy: "do it again".into() });
    }
    Ok(bar.position())
}

async fn write(
    session: &Session,
    chains: &v1::ListAuditChainsResponse,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    line(out, &Header::of(chains))?;
    download(session, chains, |record| line(out, &record)).await
}

fn line(out: &mut impl Write, thing: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(thing).map_err(|error| Failure::Output(error.into()))?;
    writeln!(out, "{text}").map_err(Failure::Output)
}
