//! The admin plane's door to the broker itself.

use tokenbroker_proto::v1::system_service_server::SystemService;
use tokenbroker_proto::v1::{
    self, Decisions, DrainBrokerRequest, GetSystemStatusRequest, GetSystemStatusResponse,
    PausedApp, ResetBreakerRequest, ResetBreakerResponse, ResumeBrokerRequest, ServingState,
    StateCount, TokenEndpoint,
};
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::serve::Door;
use super::{keys, names, status};
use crate::domain::ids::ProjectId;
use crate::service::{self, EndpointState, LIVE, Replica, Reset, Serving};

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
            replicas: stands.replicas.into_iter().map(replica).collect(),
            rights_epoch: stands.rights_epoch,
            key_terms: stands.key_terms.into_iter().map(keys::term).collect(),
            serving: Some(serving(stands.serving)),
            refused_rows: stands.refused.into_iter().map(keys::refused).collect(),
        }))
    }

    async fn drain_broker(
        &self,
        request: Request<DrainBrokerRequest>,
    ) -> Result<Response<ServingState>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let stands = status::or(self.service.set_draining(&permit, true).await)?;
        Ok(Response::new(serving(stands)))
    }

    async fn resume_broker(
        &self,
        request: Request<ResumeBrokerRequest>,
    ) -> Result<Response<ServingState>, Status> {
        let permit = self.manager(&request, &ProjectId::default_project()).await?;
        let stands = status::or(self.service.set_draining(&permit, false).await)?;
        Ok(Response::new(serving(stands)))
    }

    async fn reset_breaker(
        &self,
        request: Request<ResetBreakerRequest>,
    ) -> Result<Response<ResetBreakerResponse>, Status> {
        let asked = request.get_ref();
        let reset = match (asked.app.as_str(), asked.endpoint.as_str()) {
            ("", "") => {
                // Who may not ask learns nothing of what there is to ask for.
                self.manager(&request, &ProjectId::default_project()).await?;
                return Err(which("app", "name an app or a token endpoint"));
            }
            (_, "") => {
                let app = status::or(names::resource("app", "apps", &asked.app))?;
                let permit = self.manager(&request, &app.project).await?;
                self.service.reset_app(&permit, &app.id).await
            }
            ("", endpoint) => {
                let permit = self.manager(&request, &ProjectId::default_project()).await?;
                self.service.reset_endpoint(&permit, endpoint).await
            }
            _ => {
                self.manager(&request, &ProjectId::default_project()).await?;
                return Err(which("endpoint", "name an app or a token endpoint, not both"));
            }
        };
        let Reset { endpoint, pause_lifted } = status::or(reset)?;
        let endpoint = endpoint.unwrap_or_default();
        Ok(Response::new(ResetBreakerResponse { endpoint, pause_lifted }))
    }
}

fn which(field: &'static str, remedy: &str) -> Status {
    status::of(&service::Error::invalid(field, remedy))
}

fn serving(stands: Serving) -> ServingState {
    let Serving { draining, calls, refreshes } = stands;
    ServingState { draining, calls_in_flight: calls, refreshes_in_flight: refreshes }
}

fn replica(it: Replica) -> v1::Replica {
    v1::Replica {
        name: it.name,
        version: it.version,
        start_time: Some(timestamp(it.started_at)),
        last_seen_time: Some(timestamp(it.seen_at)),
        live: it.silent < LIVE,
        draining: it.draining,
        key_term: it.active_term,
    }
}

fn decisions(stands: &service::Status) -> Decisions {
    let (lane, lag) = (&stands.lane, stands.relaxed_lag);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Decisions {
        relaxed: lag.is_some(),
        epoch: stands.rights_epoch,
        epoch_lag: (stands.rights_epoch - lane.known_epoch).max(0),
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
