//! The admin plane's door to the broker itself.

use tokenbroker_proto::v1::system_service_server::SystemService;
use tokenbroker_proto::v1::{GetSystemStatusRequest, GetSystemStatusResponse, StateCount};
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::serve::Door;
use super::status;
use crate::domain::ids::ProjectId;

#[tonic::async_trait]
impl SystemService for Door {
    async fn get_system_status(
        &self,
        request: Request<GetSystemStatusRequest>,
    ) -> Result<Response<GetSystemStatusResponse>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let stands = status::or(self.service.status(&permit).await)?;
        let accounts = stands.counts.accounts.into_iter();
        Ok(Response::new(GetSystemStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_engine: stands.engine.to_owned(),
            schema_version: stands.schema_version,
            start_time: Some(timestamp(self.started_at)),
            apps: stands.counts.apps,
            accounts: accounts.map(|(state, count)| StateCount { state, count }).collect(),
            active_credentials: stands.counts.active_credentials,
            active_callers: stands.counts.active_callers,
            rejected_apps: stands.counts.rejected_apps,
            key_term: stands.key_term,
            public_uri: stands.public_url,
        }))
    }
}
