//! The admin plane's door for mail sessions.
//!
//! Next: `service/sessions.rs`.

use std::time::Duration;

use tokenbroker_proto::v1::session_service_server::SessionService;
use tokenbroker_proto::v1::{
    self, EndSessionRequest, EndSessionsRequest, EndSessionsResponse, GetSessionRequest,
    ListSessionsRequest, ListSessionsResponse, SessionFilter, SessionState,
};
use tonic::{Request, Response, Status};

use super::convert::{page, proto_end_reason, proto_protocol, timestamp};
use super::names::{account, credential, project, resource, session};
use super::serve::Door;
use super::status;
use crate::clock::Time;
use crate::domain::ids::ProjectId;
use crate::domain::session::SessionRecord;
use crate::service::{Error, SessionWish};

/// An adapter tells of each session once a minute; after this it counts as silent.
const SILENT: Duration = Duration::from_secs(5 * 60);

#[tonic::async_trait]
impl SessionService for Door {
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let ListSessionsRequest { page_size, page_token, filter, .. } = request.into_inner();
        let filter = filter.unwrap_or_default();
        let wanted = status::or(page(page_size, &page_token))?;
        let wish = status::or(wish(&owner, &filter))?;
        let found = self.service.sessions(&permit, (&wish, filter.live_only), wanted).await;
        let (found, now) = (status::or(found)?, self.clock.now());
        Ok(Response::new(ListSessionsResponse {
            sessions: found.items.into_iter().map(|record| pack(record, now)).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        // Who may not ask learns nothing of what a name has to look like.
        let named = session("name", &request.get_ref().name);
        let owner = named.as_ref().map_or_else(|_| ProjectId::default_project(), |it| it.0.clone());
        let permit = self.manager(&request, &owner).await?;
        let (_, id) = status::or(named)?;
        let found = status::or(self.service.session(&permit, id).await)?;
        Ok(Response::new(pack(found, self.clock.now())))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        // Who may not ask learns nothing of what a name has to look like.
        let named = session("name", &request.get_ref().name);
        let owner = named.as_ref().map_or_else(|_| ProjectId::default_project(), |it| it.0.clone());
        let permit = self.manager(&request, &owner).await?;
        let (_, id) = status::or(named)?;
        let ended = status::or(self.service.end_session(&permit, id).await)?;
        Ok(Response::new(pack(ended, self.clock.now())))
    }

    async fn end_sessions(
        &self,
        request: Request<EndSessionsRequest>,
    ) -> Result<Response<EndSessionsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let EndSessionsRequest { filter, all, .. } = request.into_inner();
        let wish = status::or(wish(&owner, &filter.unwrap_or_default()))?;
        if wish == SessionWish::default() && !all {
            let remedy = "name an account, a credential or an adapter, or say all";
            return Err(status::of(&Error::invalid("filter", remedy)));
        }
        let (ended, more) = status::or(self.service.end_sessions(&permit, &wish).await)?;
        let ended = i32::try_from(ended).unwrap_or(i32::MAX);
        Ok(Response::new(EndSessionsResponse { ended, more }))
    }
}

/// What a filter names, all of it in `owner`.
fn wish(owner: &ProjectId, filter: &SessionFilter) -> Result<SessionWish, Error> {
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    // A short name means the project that is listed.
    let here = |field: &'static str, text: &str, project: ProjectId| {
        let remedy = "name something of the same project";
        let ours = project == *owner || !text.starts_with("projects/");
        if ours { Ok(()) } else { Err(Error::invalid(field, remedy)) }
    };
    let mut wish = SessionWish::default();
    if let Some(text) = said(&filter.account) {
        let (project, name) = account("filter.account", &text)?;
        here("filter.account", &text, project)?;
        wish.account = Some(name);
    }
    if let Some(text) = said(&filter.credential) {
        let (project, key) = credential("filter.credential", &text)?;
        here("filter.credential", &text, project)?;
        wish.credential = Some(key);
    }
    if let Some(text) = said(&filter.adapter) {
        let name = resource("filter.adapter", "callers", &text)?;
        here("filter.adapter", &text, name.project)?;
        wish.adapter = Some(name.id);
    }
    Ok(wish)
}

fn pack(record: SessionRecord, now: Time) -> v1::Session {
    let parent = format!("projects/{}", record.project);
    let state = state(&record, now);
    let login = match record.session.upstream.as_str() {
        "accepted" => v1::SessionLogin::Accepted,
        "refused" => v1::SessionLogin::Refused,
        "unreachable" => v1::SessionLogin::Unreachable,
        _ => v1::SessionLogin::Unspecified,
    };
    let named = |collection: &str, name: &str| match name {
        "" => String::new(),
        name => format!("{parent}/{collection}/{name}"),
    };
    let account = named("accounts", &record.account);
    let credential = match record.credential.as_str() {
        "" => String::new(),
        key => format!("{account}/credentials/{key}"),
    };
    let reason = record.end_reason.filter(|_| record.session.ended_at.is_some());
    v1::Session {
        name: named("sessions", &record.session.id.to_string()),
        adapter: named("callers", &record.adapter),
        account,
        credential,
        protocol: proto_protocol(record.session.protocol).into(),
        client_address: record.session.client_address,
        state: state.into(),
        open_time: Some(timestamp(record.session.opened_at)),
        end_time: record.session.ended_at.map(timestamp),
        end_reason: reason.map_or(v1::SessionEndReason::Unspecified, proto_end_reason).into(),
        last_report_time: record.heard_at.map(timestamp),
        upstream_login: login.into(),
        renewals: i32::try_from(record.session.renewals).unwrap_or(i32::MAX),
        bytes_up: record.session.bytes_up,
        bytes_down: record.session.bytes_down,
    }
}

fn state(record: &SessionRecord, now: Time) -> SessionState {
    if record.session.ended_at.is_some() {
        return SessionState::Ended;
    }
    if record.end_wanted {
        return SessionState::Ending;
    }
    let heard = record.heard_at.unwrap_or(record.session.opened_at);
    if heard.after(SILENT) < now { SessionState::Silent } else { SessionState::Live }
}
