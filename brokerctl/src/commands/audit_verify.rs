//! `brokerctl audit verify`: has the broker recompute its chains, or recomputes them here.
//!
//! Never calls a chain whole that it has not gone along. Next: `proof` does it here.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use token_broker_client::v1;

use super::audit_export::{chains, download};
use crate::failure::Failure;
use crate::output::Output;
use crate::proof::checkpoints::Checkpoints;
use crate::proof::inspector::Inspector;
use crate::proof::record::{FORMAT, Header, Record};
use crate::proof::unhex;
use crate::session::Session;
use crate::views::audit::ProofView;

/// `audit verify`
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Verify this export instead of a broker's audit
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compare with the checkpoints in this file, fetched from the second place
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// A public key that checkpoints may be signed with, from `audit key`; repeat for more [default: the broker's]
    #[arg(long = "key", value_name = "HEX", requires = "checkpoints", value_parser = key)]
    keys: Vec<Key>,
}

/// A public key.
#[derive(Clone, Debug)]
struct Key(Vec<u8>);

impl Verify {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match &self.checkpoints {
            None => by_the_broker(session).await,
            Some(file) => self.here(session, file).await,
        }
    }

    pub(crate) fn run_alone(&self, out: &Output) -> Option<Result<(), Failure>> {
        self.file.as_deref().map(|file| self.of_file(out, file))
    }

    /// Fetches all records and recomputes them here.
    async fn here(&self, session: &Session, file: &Path) -> Result<(), Failure> {
        let all = chains(session).await?;
        let header = Header::of(&all);
        let keys = match self.keys.as_slice() {
            [] => all.keys.iter().map(|key| key.public_key.clone()).collect(),
            keys => bytes(keys),
        };
        let checkpoints = Checkpoints::read(file, &header.instance, &keys)?;
        let mut inspector = Inspector::new(&header, checkpoints);
        download(session, &all, |record| {
            inspector.take(&record);
            Ok(())
        })
        .await?;
        let (verdicts, attested) = inspector.end();
        ProofView::here(verdicts, Some(attested)).tell(&session.out)
    }

    fn of_file(&self, out: &Output, file: &Path) -> Result<(), Failure> {
        let shown = file.display();
        let remedy = "name a file that `brokerctl audit export` wrote";
        let wrong = |number: usize, why: &dyn std::fmt::Display| {
            Failure::usage(format!("{shown}, line {number}: {why}"), remedy)
        };
        let opened = File::open(file)
            .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}"), remedy))?;
        let mut lines = BufReader::new(opened).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()));
        let first = first.map_err(|error| wrong(1, &error))?;
        let header: Header = serde_json::from_str(&first).map_err(|error| wrong(1, &error))?;
        if header.format != FORMAT {
            return Err(wrong(1, &format!("the format {:?} is not {FORMAT:?}", header.format)));
        }
        let checkpoints = match &self.checkpoints {
            None => None,
            Some(_) if self.keys.is_empty() => {
                let what = "a file does not say which keys to believe: --key is missing";
                return Err(Failure::usage(
                    what,
                    "take it from your notes of `brokerctl audit key`",
                ));
            }
            Some(file) => Some(Checkpoints::read(file, &header.instance, &bytes(&self.keys))?),
        };
        let compared = checkpoints.is_some();
        let mut inspector = Inspector::new(&header, checkpoints.unwrap_or_default());
        for (number, line) in lines.enumerate() {
            let line = line.map_err(|error| wrong(number + 2, &error))?;
            let record: Record =
                serde_json::from_str(&line).map_err(|error| wrong(number + 2, &error))?;
            inspector.take(&record);
        }
        let (verdicts, attested) = inspector.end();
        ProofView::here(verdicts, compared.then_some(attested)).tell(out)
    }
}

async fn by_the_broker(session: &Session) -> Result<(), Failure> {
    let mut verdicts = Vec::new();
    let mut page_token = String::new();
    let bar = session.out.bar("records", 0);
    loop {
        let ask = v1::VerifyAuditRequest { page_token };
        let page = session.admin.ask(session.admin.audit().verify_audit(ask)).await?;
        bar.set_length(page.records_total.unsigned_abs());
        bar.inc(page.records_checked.unsigned_abs());
        verdicts.extend(page.chains);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            bar.finish_and_clear();
            return ProofView::by_the_broker(verdicts).tell(&session.out);
        }
    }
}

fn bytes(keys: &[Key]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.0.clone()).collect()
}

fn key(text: &str) -> Result<Key, String> {
    let key = unhex(text).filter(|key| key.len() == 32);
    key.map(Key)
        .ok_or_else(|| "a key is 64 hexadecimal digits, as `audit key` shows them".to_owned())
}
