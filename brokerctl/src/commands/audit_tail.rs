//! `brokerctl audit tail`: shows records as they come.
//!
//! Never misses one and never shows one twice: it follows each chain by number, not by time.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use token_broker_client::{Error, v1};

use super::audit::{Filters, matches};
use crate::failure::Failure;
use crate::session::Session;
use crate::views::audit::line;
use crate::when;

/// A broker has other things to do.
const SHORTEST: Duration = Duration::from_millis(50);

/// `audit tail`
#[derive(Args, Debug)]
pub(crate) struct Tail {
    #[command(flatten)]
    filters: Filters,
    /// How many records from before to begin with
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    lines: u16,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = when::span)]
    every: Duration,
}

impl Tail {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        tokio::select! {
            ended = self.follow(session) => ended,
            told = tokio::signal::ctrl_c() => told.map_err(Failure::local),
        }
    }

    async fn follow(&self, session: &Session) -> Result<(), Failure> {
        let asked = self.filters.request(session);
        let mut seen = heads(session).await?;
        self.begin(session, &asked, &seen).await?;
        loop {
            tokio::time::sleep(self.every.max(SHORTEST)).await;
            match news(session, &mut seen).await {
                Ok(records) => {
                    for record in records.iter().filter(|record| matches(&asked, record)) {
                        session.out.line(&line(record, session.out.is_json())?)?;
                    }
                }
                Err(error) if error.is_retryable() => {
                    session.out.hint(&format!("{error}; looking again"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shows what was there before, up to where the following begins.
    async fn begin(
        &self,
        session: &Session,
        asked: &v1::ListAuditRecordsRequest,
        seen: &BTreeMap<String, i64>,
    ) -> Result<(), Failure> {
        if self.lines == 0 {
            return Ok(());
        }
        let page_size = i32::from(self.lines.min(1000));
        let ask = v1::ListAuditRecordsRequest { page_size, ..asked.clone() };
        let page = session.admin.ask(session.admin.audit().list_audit_records(ask)).await?;
        let old = |record: &&v1::AuditRecord| {
            seen.get(&record.chain).is_some_and(|head| record.sequence <= *head)
        };
        for record in page.records.iter().rev().filter(old) {
            session.out.line(&line(record, session.out.is_json())?)?;
        }
        Ok(())
    }
}

async fn heads(session: &Session) -> Result<BTreeMap<String, i64>, Error> {
    let ask = v1::ListAuditChainsRequest {};
    let found = session.admin.ask(session.admin.audit().list_audit_chains(ask)).await?;
    Ok(found.chains.into_iter().map(|chain| (chain.chain, chain.head_sequence)).collect())
}

/// The records since `seen`, which they move on, by time.
async fn news(
    session: &Session,
    seen: &mut BTreeMap<String, i64>,
) -> Result<Vec<v1::AuditRecord>, Error> {
    let mut news = Vec::new();
    for (chain, head) in heads(session).await? {
        let mut after = seen.get(&chain).copied().unwrap_or(0);
        while after < head {
            let page_size = 0;
            let ask = v1::ExportAuditRecordsRequest {
                chain: chain.clone(),
                after_sequence: after,
                page_size,
            };
            let page = session.admin.ask(session.admin.audit().export_audit_records(ask)).await?;
            after = page.records.last().map_or(head, |record| record.sequence);
            news.extend(page.records);
        }
        seen.insert(chain, after);
    }
    news.sort_by_key(|record| record.time.map(|at| (at.seconds, at.nanos)));
    Ok(news)
}
