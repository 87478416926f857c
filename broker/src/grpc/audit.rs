//! The admin plane's door to the audit.

use std::fmt::Write;

use prost_types::Timestamp;
use tokenbroker_proto::v1::audit_service_server::AuditService;
use tokenbroker_proto::v1::{
    self, AuditFlaw, AuditOutcome, ErrorReason, ExportAuditRecordsRequest,
    ExportAuditRecordsResponse, ListAuditChainsRequest, ListAuditChainsResponse,
    ListAuditRecordsRequest, ListAuditRecordsResponse, VerifyAuditRequest, VerifyAuditResponse,
};
use tonic::{Request, Response, Status};

use super::convert::{bounded, page, time, timestamp};
use super::names::project;
use super::serve::Door;
use super::status;
use crate::clock::Time;
use crate::domain::chain::{Entry, Flaw, Span};
use crate::domain::event::{Record, What};
use crate::domain::ids::ProjectId;
use crate::service::{AuditFilter, ChainVerdict, Error, EventFilter};

/// Records in an answer, if nothing is said.
const USUAL: usize = 500;
/// Records in an answer at most.
const MOST: usize = 1000;

#[tonic::async_trait]
impl AuditService for Door {
    async fn list_audit_records(
        &self,
        request: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let asked = request.into_inner();
        let wanted = status::or(page(asked.page_size, &asked.page_token))?;
        let filter = status::or(filter(&asked))?;
        let found = status::or(self.service.audit_records(&permit, &filter, wanted).await)?;
        Ok(Response::new(ListAuditRecordsResponse {
            records: found.items.into_iter().map(pack).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn list_audit_chains(
        &self,
        request: Request<ListAuditChainsRequest>,
    ) -> Result<Response<ListAuditChainsResponse>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let found = status::or(self.service.audit_chains(&permit).await)?;
        let key = |(term, public_key)| v1::AuditKey { term, public_key };
        Ok(Response::new(ListAuditChainsResponse {
            chains: found.spans.into_iter().map(chain).collect(),
            instance: found.instance.to_vec(),
            keys: found.keys.into_iter().map(key).collect(),
            checkpointed: found.checkpointed,
        }))
    }

    async fn export_audit_records(
        &self,
        request: Request<ExportAuditRecordsRequest>,
    ) -> Result<Response<ExportAuditRecordsResponse>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let asked = request.into_inner();
        let name = status::or(bounded("chain", &asked.chain, 100))?;
        let size = match usize::try_from(asked.page_size) {
            Ok(0) | Err(_) => USUAL,
            Ok(size) => size.min(MOST),
        };
        let found = self.service.audit_entries(&permit, &name, asked.after_sequence).await;
        let records = status::or(found)?.into_iter().take(size).map(raw).collect();
        Ok(Response::new(ExportAuditRecordsResponse { records }))
    }

    async fn verify_audit(
        &self,
        request: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let token = &request.get_ref().page_token;
        let found = status::or(self.service.verify_audit(&permit, token).await)?;
        Ok(Response::new(VerifyAuditResponse {
            chains: found.chains.into_iter().map(verdict).collect(),
            next_page_token: found.next,
            records_checked: found.checked,
            records_total: found.total,
        }))
    }
}

/// Which records a request wants.
fn filter(asked: &ListAuditRecordsRequest) -> Result<AuditFilter, Error> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let account = asked.account.rsplit('/').next().unwrap_or_default();
    let moment = |field, at: Option<&Timestamp>| at.map(|at| time(field, at)).transpose();
    let (from, until) = (
        moment("from_time", asked.from_time.as_ref())?,
        moment("until_time", asked.until_time.as_ref())?,
    );
    if until.is_some_and(|until| from.is_some_and(|from| from >= until)) {
        return Err(Error::invalid("until_time", "use a time after from_time"));
    }
    let reason = ErrorReason::try_from(asked.reason)
        .map_err(|_| Error::invalid("reason", "use a value of ErrorReason"))?;
    let granted = match AuditOutcome::try_from(asked.outcome) {
        Ok(AuditOutcome::Unspecified) => None,
        Ok(AuditOutcome::Granted) => Some(true),
        Ok(AuditOutcome::Refused) => Some(false),
        Err(_) => return Err(Error::invalid("outcome", "use GRANTED or REFUSED")),
    };
    Ok(AuditFilter {
        account: some(bounded("account", account, 320)?),
        what: kind(&asked.event)?,
        actor: some(bounded("actor", &asked.actor, 200)?),
        subject: some(bounded("subject", &asked.subject, 400)?),
        granted,
        reason: (reason != ErrorReason::Unspecified).then_some(reason.into()),
        from,
        until,
    })
}

/// One event or, with a star at the end, several.
fn kind(event: &str) -> Result<Option<EventFilter>, Error> {
    if event.is_empty() {
        return Ok(None);
    }
    let known = match event.strip_suffix('*') {
        Some(start) => {
            let any = What::ALL.iter().any(|what| what.as_str().starts_with(start));
            any.then(|| EventFilter::Begins(start.to_owned()))
        }
        None => What::parse(event).map(EventFilter::Is),
    };
    known.map(Some).ok_or_else(|| {
        let mut remedy = "use the beginning of some, such as `credential.*`, or one of".to_owned();
        for what in What::ALL {
            // A String takes whatever is written to it.
            let _ = write!(remedy, " {}", what.as_str());
        }
        Error::invalid("event", remedy)
    })
}

fn pack(record: Record) -> v1::AuditRecord {
    let Record { chain, sequence, event, hash } = record;
    v1::AuditRecord {
        sequence,
        time: Some(timestamp(event.at)),
        event: event.what.as_str().to_owned(),
        actor: event.actor,
        account: event.account,
        subject: event.subject,
        granted: event.granted,
        reason: event.reason,
        address: event.address,
        hash,
        detail: event.detail,
        chain,
        project: event.project,
    }
}

/// A record as it is stored, also if nobody would have written it so: who verifies it will find that.
fn raw(entry: Entry) -> v1::AuditRecord {
    v1::AuditRecord {
        sequence: entry.sequence,
        time: Some(timestamp(Time::from_millis(entry.at))),
        event: entry.what,
        actor: entry.actor,
        account: entry.account,
        subject: entry.subject,
        granted: entry.granted == 1,
        reason: i32::try_from(entry.reason).unwrap_or(i32::MAX),
        address: entry.address,
        hash: entry.hash,
        detail: entry.detail,
        chain: entry.chain,
        project: entry.project,
    }
}

fn chain(span: Span) -> v1::AuditChain {
    let Span { chain, floor, head } = span;
    let head = head.unwrap_or_default();
    v1::AuditChain {
        chain,
        floor_sequence: floor.sequence,
        floor_hash: floor.hash,
        head_sequence: head.sequence,
        head_hash: head.hash,
    }
}

fn verdict(of: ChainVerdict) -> v1::AuditChainVerdict {
    let ChainVerdict { span, records, fault } = of;
    let flaw = match fault.as_ref().map(|fault| fault.flaw) {
        None => AuditFlaw::Unspecified,
        Some(Flaw::Edited) => AuditFlaw::Edited,
        Some(Flaw::Missing) => AuditFlaw::Missing,
        Some(Flaw::Reordered) => AuditFlaw::Reordered,
        Some(Flaw::Truncated) => AuditFlaw::Truncated,
        Some(Flaw::Head) => AuditFlaw::Head,
        Some(Flaw::Floor) => AuditFlaw::Floor,
    };
    v1::AuditChainVerdict {
        first_sequence: span.floor.sequence + 1,
        last_sequence: span.head.map_or(0, |head| head.sequence),
        chain: span.chain,
        records,
        flaw: flaw.into(),
        bad_sequence: fault.as_ref().map_or(0, |fault| fault.sequence),
        detail: fault.map(|fault| fault.detail).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_there_is_not_is_told_from_those_that_there_are() {
        assert_eq!(kind("token").unwrap(), Some(EventFilter::Is(What::Token)));
        assert_eq!(kind("credential.*").unwrap(), Some(EventFilter::Begins("credential.".into())));
        assert_eq!(kind("").unwrap(), None);
        for wrong in ["tokens", "nothing.*", "cred*ential"] {
            let told = kind(wrong).unwrap_err().to_string();
            assert!(told.contains("event") && told.contains("credential.revoked"), "{told}");
        }
    }

    #[test]
    fn a_wrong_filter_names_its_field() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let none = ListAuditRecordsRequest::default;
        assert_eq!(filter(&none()).unwrap(), AuditFilter::default());
        for (field, asked) in [
            (
                "until_time",
                ListAuditRecordsRequest { from_time: at(9), until_time: at(9), ..none() },
            ),
            ("from_time", ListAuditRecordsRequest { from_time: at(-1), ..none() }),
            ("outcome", ListAuditRecordsRequest { outcome: 9, ..none() }),
            ("reason", ListAuditRecordsRequest { reason: 9999, ..none() }),
            ("actor", ListAuditRecordsRequest { actor: "a\0".into(), ..none() }),
        ] {
            let told = filter(&asked).unwrap_err().to_string();
            assert!(told.starts_with(field), "{told}");
        }
    }
}
