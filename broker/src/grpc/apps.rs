//! The admin plane's door for OAuth apps.
//!
//! Next: `service/create_app.rs` and its neighbours.

use tokenbroker_proto::v1::app_service_server::AppService;
use tokenbroker_proto::v1::{
    self, ActivateAppSecretRequest, AddAppSecretRequest, CreateAppRequest, DeleteAppRequest,
    GetAppRequest, ListAppsRequest, ListAppsResponse, ListPresetsRequest, ListPresetsResponse,
    RemoveAppSecretRequest, UpdateAppRequest, VerifyAppRequest, VerifyAppResponse,
};
use tonic::{Request, Response, Status};

use super::charts::proto_rotation;
use super::convert::{etag, page, proto_mail_host, time, timestamp, version};
use super::names::{Name, project, resource};
use super::rights::{app_change, app_draft};
use super::serve::Door;
use super::status;
use crate::domain::app::{AppHealth, ClientAuthMethod};
use crate::domain::ids::{AppSecretId, ProjectId};
use crate::domain::refresh::AppGate;
use crate::domain::secret::Secret;
use crate::service::{AppView, Error, NewAppSecret};

#[tonic::async_trait]
impl AppService for Door {
    async fn create_app(
        &self,
        request: Request<CreateAppRequest>,
    ) -> Result<Response<v1::App>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let request = request.into_inner();
        let created = async {
            let expires_at = request.client_secret_expire_time.as_ref();
            let expires_at =
                expires_at.map(|at| time("client_secret_expire_time", at)).transpose()?;
            let secret = (!request.client_secret.is_empty())
                .then(|| (Secret::new(request.client_secret), expires_at));
            let draft = app_draft(&request.app_id, request.app.unwrap_or_default())?;
            self.service.create_app(&permit, draft, secret).await
        };
        answer(created.await)
    }

    async fn get_app(&self, request: Request<GetAppRequest>) -> Result<Response<v1::App>, Status> {
        let name = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        answer(self.service.app_view(&permit, &name.id).await)
    }

    async fn list_apps(
        &self,
        request: Request<ListAppsRequest>,
    ) -> Result<Response<ListAppsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let ListAppsRequest { page_size, page_token, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let found = status::or(self.service.apps(&permit, wanted).await)?;
        Ok(Response::new(ListAppsResponse {
            apps: found.items.into_iter().map(pack).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn update_app(
        &self,
        request: Request<UpdateAppRequest>,
    ) -> Result<Response<v1::App>, Status> {
        let given = request.get_ref().app.as_ref().map(|app| app.name.clone()).unwrap_or_default();
        let name = status::or(resource("app.name", "apps", &given))?;
        let permit = self.manager(&request, &name.project).await?;
        let request = request.into_inner();
        let updated = async {
            let app = request.app.unwrap_or_default();
            let seen = version("app.etag", &app.etag)?;
            let paths = request.update_mask.unwrap_or_default().paths;
            let change = app_change(app, &paths)?;
            self.service.update_app(&permit, &name.id, change, seen).await
        };
        answer(updated.await)
    }

    async fn delete_app(&self, request: Request<DeleteAppRequest>) -> Result<Response<()>, Status> {
        let name = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let seen = status::or(version("etag", &request.get_ref().etag))?;
        status::or(self.service.delete_app(&permit, &name.id, seen).await)?;
        Ok(Response::new(()))
    }

    async fn add_app_secret(
        &self,
        request: Request<AddAppSecretRequest>,
    ) -> Result<Response<v1::App>, Status> {
        let name = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let request = request.into_inner();
        let expires_at = request.expire_time.as_ref().map(|at| time("expire_time", at));
        let new = NewAppSecret {
            expires_at: status::or(expires_at.transpose())?,
            secret: Secret::new(request.client_secret),
            active: !request.inactive,
        };
        answer(self.service.add_app_secret(&permit, &name.id, new).await)
    }

    async fn activate_app_secret(
        &self,
        request: Request<ActivateAppSecretRequest>,
    ) -> Result<Response<v1::App>, Status> {
        let name = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let secret = status::or(secret_id(&request.get_ref().secret_id))?;
        answer(self.service.activate_app_secret(&permit, &name.id, secret).await)
    }

    async fn remove_app_secret(
        &self,
        request: Request<RemoveAppSecretRequest>,
    ) -> Result<Response<v1::App>, Status> {
        let name = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let secret = status::or(secret_id(&request.get_ref().secret_id))?;
        answer(self.service.remove_app_secret(&permit, &name.id, secret).await)
    }

    async fn verify_app(
        &self,
        request: Request<VerifyAppRequest>,
    ) -> Result<Response<VerifyAppResponse>, Status> {
        let Name { project, id } = status::or(resource("name", "apps", &request.get_ref().name))?;
        let permit = self.manager(&request, &project).await?;
        let verified = status::or(self.service.verify_app(&permit, &id).await)?;
        let (accepted, findings) = (verified.accepted, verified.findings);
        Ok(Response::new(VerifyAppResponse { accepted, findings }))
    }

    async fn list_presets(
        &self,
        request: Request<ListPresetsRequest>,
    ) -> Result<Response<ListPresetsResponse>, Status> {
        self.manager(&request, &ProjectId::default_project()).await?;
        let pack =
            |(preset, display_name, audiences)| v1::Preset { preset, display_name, audiences };
        let presets = self.service.presets().into_iter().map(pack).collect();
        Ok(Response::new(ListPresetsResponse { presets }))
    }
}

fn answer(outcome: Result<AppView, Error>) -> Result<Response<v1::App>, Status> {
    status::or(outcome).map(|view| Response::new(pack(view)))
}

fn secret_id(text: &str) -> Result<AppSecretId, Error> {
    AppSecretId::parse(text)
        .ok_or_else(|| Error::invalid("secret_id", "use an id from the app's secrets"))
}

fn pack(view: AppView) -> v1::App {
    let AppView { app, secrets, redirect_uri, endpoints, gate, token_endpoint } = view;
    let secrets = secrets.iter().map(|secret| v1::AppSecret {
        secret_id: secret.id.to_string(),
        active: secret.active,
        create_time: Some(timestamp(secret.created_at)),
        expire_time: secret.expires_at.map(timestamp),
    });
    let (health, since, code) = match app.health {
        AppHealth::Unknown => (v1::AppHealth::Unspecified, None, String::new()),
        AppHealth::Accepted => (v1::AppHealth::Ok, None, String::new()),
        AppHealth::Rejected { since, code } => (v1::AppHealth::Rejected, Some(since), code),
    };
    let (retry_at, refusals) = match gate {
        AppGate::Open => (None, 0),
        AppGate::Throttled { until } => (Some(until), 0),
        AppGate::Rejected { until, refusals } => (Some(until), refusals),
    };
    let shut_until = token_endpoint.as_ref().and_then(|it| it.shut_until);
    v1::App {
        name: format!("projects/{}/apps/{}", app.project, app.name),
        display_name: app.display_name,
        preset: app.preset,
        authority: app.authority,
        client_id: app.client_id,
        client_auth_method: proto_client_auth(app.client_auth).into(),
        endpoints: Some(v1::AppEndpoints {
            issuer: endpoints.issuer,
            authorization: endpoints.authorization,
            token: endpoints.token,
            revocation: endpoints.revocation,
            userinfo: endpoints.userinfo,
            jwks: endpoints.jwks,
        }),
        base_scopes: app.base_scopes,
        extra_scopes: app.extra_scopes,
        skip_scopes: app.skip_scopes,
        mail_hosts: app.mail_hosts.iter().map(proto_mail_host).collect(),
        disabled: app.disabled,
        redirect_uri,
        secrets: secrets.collect(),
        health: health.into(),
        create_time: Some(timestamp(app.created_at)),
        update_time: Some(timestamp(app.updated_at)),
        etag: etag(app.version),
        rotation: proto_rotation(app.rotation).into(),
        return_uris: app.return_uris,
        health_time: since.map(timestamp),
        health_code: code,
        retry_time: retry_at.map(timestamp),
        refusals,
        endpoint_retry_time: shut_until.map(timestamp),
        endpoint_failures: token_endpoint.map_or(0, |it| it.failures),
    }
}

const fn proto_client_auth(method: Option<ClientAuthMethod>) -> v1::ClientAuthMethod {
    match method {
        None => v1::ClientAuthMethod::Unspecified,
        Some(ClientAuthMethod::Basic) => v1::ClientAuthMethod::Basic,
        Some(ClientAuthMethod::Post) => v1::ClientAuthMethod::Post,
        Some(ClientAuthMethod::None) => v1::ClientAuthMethod::None,
    }
}
