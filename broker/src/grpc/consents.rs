//! The admin plane's door for consents.
//!
//! Next: `service/create_consent.rs` and its neighbours.

use std::time::Duration;

use tokenbroker_proto::v1::consent_service_server::ConsentService;
use tokenbroker_proto::v1::{
    self, CancelConsentRequest, CreateConsentRequest, ExchangeConsentRequest, FinishConsentRequest,
    GetConsentRequest, ListConsentsRequest, ListConsentsResponse,
};
use tonic::{Request, Response, Status};

use super::convert::{bounded, labels, page, span, timestamp};
use super::names::{account, project, resource};
use super::rights::resource_id;
use super::serve::Door;
use super::{accounts, status};
use crate::clock::Time;
use crate::domain::consent::{Consent, ConsentMode, ConsentState};
use crate::domain::ids::{Mailbox, ProjectId};
use crate::domain::secret::Secret;
use crate::service::{Arrival, ConsentDraft, ConsentView, Error};

/// The longest life of a link.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[tonic::async_trait]
impl ConsentService for Door {
    async fn create_consent(
        &self,
        request: Request<CreateConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let created = async {
            let draft = unpack(&owner, request.into_inner())?;
            self.service.create_consent(&permit, draft).await
        };
        self.answer(created.await)
    }

    async fn get_consent(
        &self,
        request: Request<GetConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let name = status::or(resource("name", "consents", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        self.answer(self.service.consent(&permit, &name.id).await)
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let ListConsentsRequest { page_size, page_token, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let found = status::or(self.service.consents(&permit, wanted).await)?;
        let now = self.clock.now();
        Ok(Response::new(ListConsentsResponse {
            consents: found.items.into_iter().map(|view| pack(view, now)).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn cancel_consent(
        &self,
        request: Request<CancelConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let name = status::or(resource("name", "consents", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        self.answer(self.service.cancel_consent(&permit, &name.id).await)
    }

    async fn exchange_consent(
        &self,
        request: Request<ExchangeConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let name = status::or(resource("name", "consents", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let ExchangeConsentRequest { state, code, iss, error, .. } = request.into_inner();
        let arrival = Arrival {
            state,
            code: (!code.is_empty()).then(|| Secret::new(code)),
            iss: (!iss.is_empty()).then_some(iss),
            error: (!error.is_empty()).then_some(error),
        };
        self.answer(self.service.exchange_consent(&permit, &name.id, arrival).await)
    }

    async fn finish_consent(
        &self,
        request: Request<FinishConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let name = status::or(resource("name", "consents", &request.get_ref().name))?;
        let permit = self.manager(&request, &name.project).await?;
        let code = Secret::new(request.into_inner().code);
        self.answer(self.service.finish_consent(&permit, &name.id, &code).await)
    }
}

impl Door {
    fn answer(&self, outcome: Result<ConsentView, Error>) -> Result<Response<v1::Consent>, Status> {
        status::or(outcome).map(|view| Response::new(pack(view, self.clock.now())))
    }
}

fn unpack(owner: &ProjectId, request: CreateConsentRequest) -> Result<ConsentDraft, Error> {
    let mode = match request.mode() {
        v1::ConsentMode::Application => ConsentMode::Application,
        v1::ConsentMode::Invitation => ConsentMode::Invitation,
        v1::ConsentMode::Loopback => ConsentMode::Loopback,
        v1::ConsentMode::Unspecified => {
            return Err(Error::invalid("mode", "use APPLICATION, INVITATION or LOOPBACK"));
        }
    };
    let app = resource("app", "apps", &request.app)?;
    let renewed = (!request.account.is_empty()).then(|| account("account", &request.account));
    let renewed = renewed.transpose()?;
    let foreign = renewed.as_ref().is_some_and(|(project, _)| project != owner);
    if app.project != *owner || foreign {
        return Err(Error::invalid("parent", "app and account have to be of this project"));
    }
    let expected = (!request.expected_mailbox.is_empty())
        .then(|| Mailbox::parse(&request.expected_mailbox))
        .transpose()
        .map_err(|bad| Error::invalid("expected_mailbox", bad.to_string()))?;
    let account_id = (!request.account_id.is_empty())
        .then(|| resource_id("account_id", &request.account_id))
        .transpose()?;
    Ok(ConsentDraft {
        app: app.id,
        mode,
        expected_mailbox: expected,
        account: renewed.map(|(_, name)| name),
        account_id,
        return_uri: request.return_uri,
        loopback_uri: request.loopback_uri,
        ttl: span("ttl", request.ttl.as_ref(), LONGEST)?,
        requester: bounded("requester", &request.requester, 100)?,
        labels: labels("labels", &request.labels)?,
    })
}

fn pack(view: ConsentView, now: Time) -> v1::Consent {
    let ConsentView { consent, app, account, uri, loopback_state } = view;
    let state = state(&consent, now);
    v1::Consent {
        name: format!("projects/{}/consents/{}", consent.project, consent.name),
        app: format!("projects/{}/apps/{app}", consent.project),
        account: account
            .as_ref()
            .map(|it| format!("projects/{}/accounts/{}", it.account.project, it.account.name))
            .unwrap_or_default(),
        expected_mailbox: consent.expected_mailbox.map(|it| it.to_string()).unwrap_or_default(),
        mode: mode(consent.mode).into(),
        state: state.into(),
        uri,
        expire_time: Some(timestamp(consent.expires_at)),
        requester: consent.requester,
        failure: consent.failure,
        result: account.filter(|_| state == v1::ConsentState::Finished).map(accounts::pack),
        create_time: Some(timestamp(consent.created_at)),
        loopback_state,
    }
}

const fn mode(mode: ConsentMode) -> v1::ConsentMode {
    match mode {
        ConsentMode::Application => v1::ConsentMode::Application,
        ConsentMode::Invitation => v1::ConsentMode::Invitation,
        ConsentMode::Loopback => v1::ConsentMode::Loopback,
    }
}

fn state(consent: &Consent, now: Time) -> v1::ConsentState {
    if consent.has_expired(now) {
        return v1::ConsentState::Expired;
    }
    match consent.state {
        ConsentState::Open | ConsentState::Claimed => v1::ConsentState::Open,
        ConsentState::Pending => v1::ConsentState::Pending,
        ConsentState::Finished => v1::ConsentState::Finished,
        ConsentState::Failed => v1::ConsentState::Failed,
        ConsentState::Cancelled => v1::ConsentState::Cancelled,
    }
}
