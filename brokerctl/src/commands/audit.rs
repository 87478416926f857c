//! `brokerctl audit`: what was handed out, changed and refused, and that nobody has touched it.

use clap::{Args, Subcommand};
use prost_types::Timestamp;
use token_broker_client::v1::{self, AuditOutcome, ErrorReason};

use super::audit_export::Export;
use super::audit_tail::Tail;
use super::audit_verify::Verify;
use crate::failure::Failure;
use crate::names;
use crate::output::Output;
use crate::session::{Session, all_pages};
use crate::views::audit::{AuditView, KeysView};
use crate::when;

const LIST_HELP: &str = "\
Examples:
  brokerctl audit list --account ann@example.com --since 2d
  brokerctl audit list --refused --event session --since 2027-01-31 --until 2027-02-01
  brokerctl audit list --event 'credential.*' --actor admin --json";

const TAIL_HELP: &str = "\
Shows the newest records and goes on with those that come, until Ctrl-C.
With --json one object a line.";

const VERIFY_HELP: &str = "\
Examples:
  brokerctl audit verify                                the broker recomputes its chains
  brokerctl audit verify --checkpoints ck.jsonl         this tool recomputes them, and compares
  brokerctl audit verify --file audit.jsonl             an export, without a broker
  brokerctl audit verify --file audit.jsonl --checkpoints ck.jsonl --key HEX

Exit code 1 if a record is bad; the first bad one of each chain is named. A chain proves that nothing in it
was changed; only checkpoints from a second place prove that all of it was not written anew.";

const EXPORT_HELP: &str = "\
Writes all records with all columns, one JSON object a line, the first line says where each chain begins
and ends. Anybody can verify it later: brokerctl audit verify --file FILE. How the hashes are made is in docs/audit.md.";

/// `brokerctl audit ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Lists records, newest first
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Follows what is recorded
    #[command(after_help = TAIL_HELP)]
    Tail(Tail),
    /// Checks that no record was changed, removed or moved
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Writes all records to a file that can be verified anywhere
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
    /// Shows the public keys that checkpoints are signed with
    Key,
}

/// `audit list`
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

/// Which records.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filters {
    /// Only about this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only this event, or all that begin so, such as 'credential.*'
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only by this caller, or `owner`, `broker`
    #[arg(long, value_name = "CALLER")]
    actor: Option<String>,
    /// Only about this app, credential, caller or consent, as records name it
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Only what was granted
    #[arg(long, conflicts_with = "refused")]
    granted: bool,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only refused for this, such as ACCOUNT_NEEDS_CONSENT
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<ErrorReason>,
    /// Not before, such as 2h (ago), 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<Timestamp>,
    /// Before
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    until: Option<Timestamp>,
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Tail(tail) => tail.run(session).await,
            Self::Verify(verify) => verify.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Key => {
                let ask = v1::ListAuditChainsRequest {};
                let chains =
                    session.admin.ask(session.admin.audit().list_audit_chains(ask)).await?;
                session.out.show(&KeysView::from(chains))
            }
        }
    }

    /// What needs no broker and no key of one; `None` if this does.
    pub(crate) fn run_alone(&self, out: &Output) -> Option<Result<(), Failure>> {
        match self {
            Self::Verify(verify) => verify.run_alone(out),
            _ => None,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let wanted = self.filters.request(session);
        let records = all_pages(self.limit, async |page_size, page_token| {
            let ask = v1::ListAuditRecordsRequest { page_size, page_token, ..wanted.clone() };
            let page = session.admin.ask(session.admin.audit().list_audit_records(ask)).await?;
            Ok((page.records, page.next_page_token))
        })
        .await?;
        session.out.show(&AuditView::from(records))
    }
}

impl Filters {
    /// As the broker is asked.
    pub(crate) fn request(&self, session: &Session) -> v1::ListAuditRecordsRequest {
        let outcome = match (self.granted, self.refused) {
            (true, _) => AuditOutcome::Granted,
            (_, true) => AuditOutcome::Refused,
            _ => AuditOutcome::Unspecified,
        };
        let actor = |name: &String| match name.as_str() {
            "owner" | "broker" | "init" => name.clone(),
            name => session.caller(name),
        };
        v1::ListAuditRecordsRequest {
            parent: session.parent(),
            account: self.account.as_deref().map(|id| session.account(id)).unwrap_or_default(),
            event: self.event.clone().unwrap_or_default(),
            actor: self.actor.as_ref().map(actor).unwrap_or_default(),
            subject: self.subject.clone().unwrap_or_default(),
            outcome: outcome.into(),
            reason: self.reason.unwrap_or_default().into(),
            from_time: self.since,
            until_time: self.until,
            ..Default::default()
        }
    }
}

/// Whether a record is one that was asked for, as the broker judges it.
pub(crate) fn matches(asked: &v1::ListAuditRecordsRequest, record: &v1::AuditRecord) -> bool {
    let any = |asked: &str, has: &str| asked.is_empty() || asked == has;
    let event = match asked.event.strip_suffix('*') {
        Some(start) => record.event.starts_with(start),
        None => any(&asked.event, &record.event),
    };
    let outcome = match asked.outcome() {
        AuditOutcome::Unspecified => true,
        outcome => record.granted == (outcome == AuditOutcome::Granted),
    };
    let order = |at: &Timestamp| (at.seconds, at.nanos);
    let time = record.time.as_ref().map(order).unwrap_or_default();
    event
        && outcome
        && any(names::id(&asked.parent), &record.project)
        && any(names::id(&asked.account), &record.account)
        && any(&asked.actor, &record.actor)
        && any(&asked.subject, &record.subject)
        && (asked.reason == 0 || asked.reason == record.reason)
        && asked.from_time.as_ref().is_none_or(|from| order(from) <= time)
        && asked.until_time.as_ref().is_none_or(|until| time < order(until))
}

fn reason(text: &str) -> Result<ErrorReason, String> {
    let bare = text.to_ascii_uppercase();
    let bare = bare.trim_start_matches("ERROR_REASON_");
    ErrorReason::from_str_name(&format!("ERROR_REASON_{bare}"))
        .filter(|reason| *reason != ErrorReason::Unspecified)
        .ok_or_else(|| format!("{text:?} is no reason; `audit list --refused` shows some"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_is_what_would_be_listed() {
        let record = v1::AuditRecord {
            event: "credential.revoked".into(),
            account: "ann".into(),
            project: "default".into(),
            granted: false,
            reason: ErrorReason::NotPermitted.into(),
            time: Some(Timestamp { seconds: 100, nanos: 5 }),
            ..Default::default()
        };
        let none = v1::ListAuditRecordsRequest::default;
        let at = |seconds| Some(Timestamp { seconds, nanos: 5 });
        for (asked, fits) in [
            (none(), true),
            (v1::ListAuditRecordsRequest { event: "credential.*".into(), ..none() }, true),
            (v1::ListAuditRecordsRequest { event: "credential".into(), ..none() }, false),
            (
                v1::ListAuditRecordsRequest {
                    account: "projects/default/accounts/ann".into(),
                    ..none()
                },
                true,
            ),
            (v1::ListAuditRecordsRequest { parent: "projects/other".into(), ..none() }, false),
            (
                v1::ListAuditRecordsRequest { outcome: AuditOutcome::Granted.into(), ..none() },
                false,
            ),
            (
                v1::ListAuditRecordsRequest { reason: ErrorReason::NotPermitted.into(), ..none() },
                true,
            ),
            (
                v1::ListAuditRecordsRequest { from_time: at(100), until_time: at(101), ..none() },
                true,
            ),
            (v1::ListAuditRecordsRequest { until_time: at(100), ..none() }, false),
        ] {
            assert_eq!(matches(&asked, &record), fits, "{asked:?}");
        }
        assert!(reason("account_needs_consent").is_ok() && reason("nonsense").is_err());
    }
}
