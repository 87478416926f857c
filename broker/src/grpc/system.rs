//! The admin plane's door to the broker itself.

use tokenbroker_proto::v1::system_service_server::SystemService;
use tokenbroker_proto::v1::{
    Decisions, GetSystemStatusRequest, GetSystemStatusResponse, PausedApp, StateCount,
    TokenEndpoint,
};
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::serve::Door;
use super::status;
use crate::domain::ids::ProjectId;
use crate::service::{self, EndpointState};

#[tonic::async_trait]
impl SystemService for Door {
    async fn get_system_status(
        &self,
        request: Request<GetSystemStatusRequest>,
    ) -> Result<Response<GetSystemStatusResponse>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let stands = status::or(self.service.status(&permit).await)?;
        let decisions = Some(decisions(&stands));
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
            interrupted_accounts: stands.counts.interrupted_accounts,
            due_accounts: stands.due,
            endpoints: stands.endpoints.into_iter().take(1000).map(endpoint).collect(),
            paused_apps: stands.counts.paused_apps.into_iter().map(paused).collect(),
            replica: stands.replica,
            decisions,
        }))
    }
}

fn decisions(stands: &service::Status) -> Decisions {
    let (lane, lag) = (&stands.lane, stands.relaxed_lag);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Decisions {
        relaxed: lag.is_some(),
        epoch: stands.epoch,
        epoch_lag: (stands.epoch - lane.known_epoch).max(0),
        waiting: count(lane.waiting),
        room: count(lane.room),
        last_commit: lane.last_commit.try_into().ok(),
        chain: lane.chain.clone(),
        relaxed_lag: lag.and_then(|lag| lag.try_into().ok()),
    }
}

fn endpoint(stands: EndpointState) -> TokenEndpoint {
    let EndpointState { endpoint, failures, shut_until } = stands;
    TokenEndpoint { endpoint, failures, retry_time: shut_until.map(timestamp) }
}

fn paused(app: service::PausedApp) -> PausedApp {
    PausedApp {
        app: app.app,
        retry_time: Some(timestamp(app.retry_at)),
        refusals: u32::try_from(app.refusals).unwrap_or(u32::MAX),
    }
}
