//! The admin plane's door for callers.
//!
//! Next: `service/create_caller.rs` and its neighbours.

use std::time::Duration;

use tokenbroker_proto::v1::caller_service_server::CallerService;
use tokenbroker_proto::v1::{
    self, CreateCallerKeyRequest, CreateCallerKeyResponse, CreateCallerRequest,
    CreateCallerResponse, DeleteCallerRequest, GetCallerRequest, ListCallersRequest,
    ListCallersResponse, RevokeCallerKeyRequest, RevokeCallerRequest, UpdateCallerRequest,
    WhoAmIRequest,
};
use tonic::{Request, Response, Status};

use super::authenticate::asked;
use super::caller_rights::{pack_identity, pack_interval, pack_right};
use super::convert::{bounded, etag, page, proto_protocols, span, timestamp, version};
use super::names::{project, resource};
use super::rights::{caller_change, caller_draft};
use super::serve::Door;
use super::status;
use crate::domain::caller::{CallerKey, Role};
use crate::domain::secret::Secret;
use crate::service::{CallerView, Error};

/// The longest life of a key that has an end.
const LONGEST_KEY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[tonic::async_trait]
impl CallerService for Door {
    async fn create_caller(
        &self,
        request: Request<CreateCallerRequest>,
    ) -> Result<Response<CreateCallerResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.administrator(&request, &owner).await?;
        let request = request.into_inner();
        let made = async {
            let ttl = span("key_ttl", request.key_ttl.as_ref(), LONGEST_KEY)?;
            let key_expires_at = ttl.map(|ttl| self.clock.now().after(ttl));
            let caller = request.caller.unwrap_or_default();
            let key = (!request.without_key, key_expires_at);
            let draft = caller_draft(&request.caller_id, caller, key)?;
            self.service.create_caller(&permit, draft).await
        };
        let made = status::or(made.await)?;
        let api_key = shown(made.shown);
        Ok(Response::new(CreateCallerResponse { caller: Some(pack(made.view)), api_key }))
    }

    async fn get_caller(
        &self,
        request: Request<GetCallerRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let name = status::or(resource("name", "callers", &request.get_ref().name))?;
        let permit = self.administrator(&request, &name.project).await?;
        answer(self.service.caller(&permit, &name.id).await)
    }

    async fn list_callers(
        &self,
        request: Request<ListCallersRequest>,
    ) -> Result<Response<ListCallersResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.administrator(&request, &owner).await?;
        let ListCallersRequest { page_size, page_token, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let found = status::or(self.service.callers(&permit, wanted).await)?;
        Ok(Response::new(ListCallersResponse {
            callers: found.items.into_iter().map(pack).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn update_caller(
        &self,
        request: Request<UpdateCallerRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let given = request.get_ref().caller.as_ref().map(|it| it.name.clone()).unwrap_or_default();
        let name = status::or(resource("caller.name", "callers", &given))?;
        let permit = self.administrator(&request, &name.project).await?;
        let UpdateCallerRequest { caller, update_mask } = request.into_inner();
        let updated = async {
            let caller = caller.unwrap_or_default();
            let seen = version("caller.etag", &caller.etag)?;
            let change = caller_change(&caller, &update_mask.unwrap_or_default().paths)?;
            self.service.update_caller(&permit, &name.id, change, seen).await
        };
        answer(updated.await)
    }

    async fn create_caller_key(
        &self,
        request: Request<CreateCallerKeyRequest>,
    ) -> Result<Response<CreateCallerKeyResponse>, Status> {
        let name = status::or(resource("name", "callers", &request.get_ref().name))?;
        let permit = self.administrator(&request, &name.project).await?;
        let ttl = status::or(span("ttl", request.get_ref().ttl.as_ref(), LONGEST_KEY))?;
        let expires_at = ttl.map(|ttl| self.clock.now().after(ttl));
        let made = self.service.create_caller_key(&permit, &name.id, expires_at).await;
        let made = status::or(made)?;
        let api_key = shown(made.shown);
        Ok(Response::new(CreateCallerKeyResponse { caller: Some(pack(made.view)), api_key }))
    }

    async fn revoke_caller_key(
        &self,
        request: Request<RevokeCallerKeyRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let name = status::or(resource("name", "callers", &request.get_ref().name))?;
        let permit = self.administrator(&request, &name.project).await?;
        let key = status::or(bounded("key_id", &request.get_ref().key_id, 63))?;
        answer(self.service.revoke_caller_key(&permit, &name.id, &key).await)
    }

    async fn revoke_caller(
        &self,
        request: Request<RevokeCallerRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let name = status::or(resource("name", "callers", &request.get_ref().name))?;
        let permit = self.administrator(&request, &name.project).await?;
        answer(self.service.revoke_caller(&permit, &name.id).await)
    }

    async fn delete_caller(
        &self,
        request: Request<DeleteCallerRequest>,
    ) -> Result<Response<()>, Status> {
        let name = status::or(resource("name", "callers", &request.get_ref().name))?;
        let permit = self.administrator(&request, &name.project).await?;
        status::or(self.service.delete_caller(&permit, &name.id).await)?;
        Ok(Response::new(()))
    }

    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let caller = self.caller(&request).await?;
        let permitted = caller.may_ask_who_it_is().map_err(Error::from);
        self.on_record(&caller, asked(&request), permitted).await?;
        answer(self.service.who_am_i(&caller).await)
    }
}

/// A key on its only way out; empty if there is none.
fn shown(key: Option<Secret>) -> String {
    key.map(|key| key.expose().to_owned()).unwrap_or_default()
}

fn answer(outcome: Result<CallerView, Error>) -> Result<Response<v1::Caller>, Status> {
    status::or(outcome).map(|view| Response::new(pack(view)))
}

fn pack(view: CallerView) -> v1::Caller {
    let CallerView { caller, keys } = view;
    let role = match caller.role {
        Role::Admin => v1::CallerRole::Admin,
        Role::Operator => v1::CallerRole::Operator,
        Role::Service => v1::CallerRole::Service,
        Role::Adapter => v1::CallerRole::Adapter,
    };
    v1::Caller {
        name: caller.resource_name(),
        display_name: caller.display_name,
        role: role.into(),
        rights: caller.rights.into_iter().map(pack_right).collect(),
        protocols: proto_protocols(&caller.protocols),
        ip_ranges: caller.ip_ranges.iter().map(ToString::to_string).collect(),
        identities: caller.identities.into_iter().map(pack_identity).collect(),
        min_interval: pack_interval(caller.min_interval),
        keys: keys.into_iter().map(pack_key).collect(),
        revoked: caller.revoked_at.is_some(),
        create_time: Some(timestamp(caller.created_at)),
        etag: etag(caller.version),
    }
}

fn pack_key(key: CallerKey) -> v1::CallerKey {
    v1::CallerKey {
        key_id: key.key,
        create_time: Some(timestamp(key.created_at)),
        expire_time: key.expires_at.map(timestamp),
        revoked: key.revoked_at.is_some(),
        last_use_time: key.last_used_at.map(timestamp),
    }
}
