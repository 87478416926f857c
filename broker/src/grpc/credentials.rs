//! The admin plane's door for proxy credentials.
//!
//! Next: `service/create_credential.rs` and its neighbours.

use std::time::Duration;

use tokenbroker_proto::v1::credential_service_server::CredentialService;
use tokenbroker_proto::v1::{
    self, CreateCredentialRequest, CreateCredentialResponse, DeleteCredentialRequest,
    GetCredentialRequest, ListCredentialUseRequest, ListCredentialUseResponse,
    ListCredentialsRequest, ListCredentialsResponse, RevokeCredentialRequest,
    RotateCredentialRequest, RotateCredentialResponse,
};
use tonic::{Request, Response, Status};

use super::convert::{
    bounded, etag, ip_ranges, page, proto_protocol, proto_protocols, protocols, span, time,
    timestamp,
};
use super::names::{account, credential, project};
use super::serve::Door;
use super::status;
use crate::clock::Time;
use crate::domain::credential::{CredentialState, Limits};
use crate::domain::session::MailSession;
use crate::service::{CredentialDraft, CredentialView, Error};

/// The highest limit of sessions or logins.
const MOST: u32 = 100_000;

const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_OVERLAP: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[tonic::async_trait]
impl CredentialService for Door {
    async fn create_credential(
        &self,
        request: Request<CreateCredentialRequest>,
    ) -> Result<Response<CreateCredentialResponse>, Status> {
        let (owner, name) = status::or(account("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let made = async {
            let draft = unpack(&request.into_inner().credential.unwrap_or_default())?;
            self.service.create_credential(&permit, &name, draft).await
        };
        let made = status::or(made.await)?;
        Ok(Response::new(CreateCredentialResponse {
            credential: Some(pack(made.view, self.clock.now())),
            secret: made.shown.expose().to_owned(),
        }))
    }

    async fn get_credential(
        &self,
        request: Request<GetCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let (owner, key) = status::or(credential("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        self.credential_answer(self.service.credential(&permit, &key).await)
    }

    async fn list_credentials(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let parent = &request.get_ref().parent;
        let (owner, name) = match parent.strip_suffix("/accounts/-") {
            Some(owner) => (status::or(project("parent", owner))?, None),
            None if parent.is_empty() => (status::or(project("parent", ""))?, None),
            None => {
                let (owner, name) = status::or(account("parent", parent))?;
                (owner, Some(name))
            }
        };
        let permit = self.manager(&request, &owner).await?;
        let ListCredentialsRequest { page_size, page_token, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let found = self.service.credentials(&permit, name.as_ref(), wanted).await;
        let found = status::or(found)?;
        let now = self.clock.now();
        Ok(Response::new(ListCredentialsResponse {
            credentials: found.items.into_iter().map(|view| pack(view, now)).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn rotate_credential(
        &self,
        request: Request<RotateCredentialRequest>,
    ) -> Result<Response<RotateCredentialResponse>, Status> {
        let (owner, key) = status::or(credential("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let overlap = span("overlap", request.get_ref().overlap.as_ref(), LONGEST_OVERLAP);
        let overlap = status::or(overlap)?.unwrap_or(DEFAULT_OVERLAP);
        let rotated = self.service.rotate_credential(&permit, &key, overlap).await;
        let (made, previous) = status::or(rotated)?;
        let now = self.clock.now();
        Ok(Response::new(RotateCredentialResponse {
            credential: Some(pack(made.view, now)),
            secret: made.shown.expose().to_owned(),
            previous: Some(pack(previous, now)),
        }))
    }

    async fn revoke_credential(
        &self,
        request: Request<RevokeCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let (owner, key) = status::or(credential("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        self.credential_answer(self.service.revoke_credential(&permit, &key).await)
    }

    async fn delete_credential(
        &self,
        request: Request<DeleteCredentialRequest>,
    ) -> Result<Response<()>, Status> {
        let (owner, key) = status::or(credential("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        status::or(self.service.delete_credential(&permit, &key).await)?;
        Ok(Response::new(()))
    }

    async fn list_credential_use(
        &self,
        request: Request<ListCredentialUseRequest>,
    ) -> Result<Response<ListCredentialUseResponse>, Status> {
        let (owner, key) = status::or(credential("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let asked = request.get_ref();
        let wanted = status::or(page(asked.page_size, &asked.page_token))?;
        let found = status::or(self.service.credential_use(&permit, &key, wanted).await)?;
        Ok(Response::new(ListCredentialUseResponse {
            uses: found.items.into_iter().map(use_of).collect(),
            next_page_token: found.next_page_token,
        }))
    }
}

impl Door {
    fn credential_answer(
        &self,
        outcome: Result<CredentialView, Error>,
    ) -> Result<Response<v1::Credential>, Status> {
        status::or(outcome).map(|view| Response::new(pack(view, self.clock.now())))
    }
}

fn unpack(given: &v1::Credential) -> Result<CredentialDraft, Error> {
    let expires_at = given.expire_time.as_ref().map(|at| time("credential.expire_time", at));
    Ok(CredentialDraft {
        description: bounded("credential.description", &given.description, 200)?,
        protocols: protocols("credential.protocols", &given.protocols)?,
        ip_ranges: ip_ranges("credential.ip_ranges", &given.ip_ranges)?,
        limits: Limits {
            sessions: limit("credential.max_sessions", given.max_sessions)?,
            logins_per_minute: limit(
                "credential.max_logins_per_minute",
                given.max_logins_per_minute,
            )?,
        },
        expires_at: expires_at.transpose()?,
    })
}

/// 0 stands for no limit.
fn limit(field: &'static str, given: u32) -> Result<Option<u32>, Error> {
    if given > MOST {
        return Err(Error::invalid(field, "use 1 to 100000, or 0 for no limit"));
    }
    Ok((given > 0).then_some(given))
}

fn use_of(session: MailSession) -> v1::CredentialUse {
    v1::CredentialUse {
        session: session.id.to_string(),
        open_time: Some(timestamp(session.opened_at)),
        end_time: session.ended_at.map(timestamp),
        protocol: proto_protocol(session.protocol).into(),
        client_address: session.client_address,
        bytes_up: session.bytes_up,
        bytes_down: session.bytes_down,
        upstream: session.upstream,
        renewals: session.renewals,
    }
}

fn pack(view: CredentialView, now: Time) -> v1::Credential {
    let CredentialView { credential, account } = view;
    let parent = format!("projects/{}/accounts/{}", account.project, account.name);
    let name = |key: &str| format!("{parent}/credentials/{key}");
    let state = match credential.state(now) {
        CredentialState::Active => v1::CredentialState::Active,
        CredentialState::Rotating => v1::CredentialState::Rotating,
        CredentialState::Expired => v1::CredentialState::Expired,
        CredentialState::Revoked => v1::CredentialState::Revoked,
    };
    let successor = &credential.successor;
    v1::Credential {
        name: name(&credential.key),
        successor: if successor.is_empty() { String::new() } else { name(successor) },
        description: credential.description,
        protocols: proto_protocols(&credential.protocols),
        ip_ranges: credential.ip_ranges.iter().map(ToString::to_string).collect(),
        expire_time: credential.expires_at.map(timestamp),
        state: state.into(),
        last_use_time: credential.last_used_at.map(timestamp),
        last_use_address: credential.last_used_from,
        create_time: Some(timestamp(credential.created_at)),
        login_names: vec![account.mailbox.to_string(), account.name.to_string()],
        etag: etag(credential.version),
        max_sessions: credential.limits.sessions.unwrap_or(0),
        max_logins_per_minute: credential.limits.logins_per_minute.unwrap_or(0),
    }
}
