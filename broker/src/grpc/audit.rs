//! The admin plane's door to the audit.

use tokenbroker_proto::v1::audit_service_server::AuditService;
use tokenbroker_proto::v1::{self, ListAuditRecordsRequest, ListAuditRecordsResponse};
use tonic::{Request, Response, Status};

use super::convert::{bounded, page, timestamp};
use super::names::project;
use super::serve::Door;
use super::status;
use crate::domain::event::Record;

#[tonic::async_trait]
impl AuditService for Door {
    async fn list_audit_records(
        &self,
        request: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let ListAuditRecordsRequest { page_size, page_token, account, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let account = account.rsplit('/').next().unwrap_or_default();
        let account = &status::or(bounded("account", account, 320))?;
        let found = status::or(self.service.audit_records(&permit, account, wanted).await)?;
        Ok(Response::new(ListAuditRecordsResponse {
            records: found.items.into_iter().map(pack).collect(),
            next_page_token: found.next_page_token,
        }))
    }
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
    }
}
