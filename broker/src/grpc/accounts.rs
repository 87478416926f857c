//! The admin plane's door for mail accounts.
//!
//! Next: `service/accounts.rs` and its neighbours.

use tokenbroker_proto::v1::account_service_server::AccountService;
use tokenbroker_proto::v1::{
    self, AccountState, DeleteAccountRequest, DiagnoseAccountRequest, DiagnoseAccountResponse,
    DisableAccountRequest, EnableAccountRequest, ErrorReason, GetAccountRequest,
    ListAccountsRequest, ListAccountsResponse, RefreshAccountRequest, RevokeAccountRequest,
    RevokeAccountResponse, UpdateAccountRequest,
};
use tonic::{Request, Response, Status};

use super::charts;
use super::convert::{bounded, etag, labels, page, timestamp, version};
use super::names::{account, project};
use super::rights::unknown_path;
use super::serve::Door;
use super::status;
use crate::domain::account::{Account, Standing};
use crate::service::AccountFilter;
use crate::service::accounts::AccountView;
use crate::service::{AccountChange, Error};

#[tonic::async_trait]
impl AccountService for Door {
    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        answer(self.service.account_view(&permit, &name).await)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let owner = status::or(project("parent", &request.get_ref().parent))?;
        let permit = self.manager(&request, &owner).await?;
        let filter = filter(request.get_ref().state());
        let ListAccountsRequest { page_size, page_token, .. } = request.into_inner();
        let wanted = status::or(page(page_size, &page_token))?;
        let found = status::or(self.service.accounts(&permit, wanted, filter).await)?;
        Ok(Response::new(ListAccountsResponse {
            accounts: found.items.into_iter().map(pack).collect(),
            next_page_token: found.next_page_token,
        }))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let given =
            request.get_ref().account.as_ref().map(|it| it.name.clone()).unwrap_or_default();
        let (owner, name) = status::or(account("account.name", &given))?;
        let permit = self.manager(&request, &owner).await?;
        let UpdateAccountRequest { account, update_mask } = request.into_inner();
        let updated = async {
            let account = account.unwrap_or_default();
            let seen = version("account.etag", &account.etag)?;
            let change = change(&account, &update_mask.unwrap_or_default().paths)?;
            self.service.update_account(&permit, &name, change, seen).await
        };
        answer(updated.await)
    }

    async fn disable_account(
        &self,
        request: Request<DisableAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        answer(self.service.switch_account(&permit, &name, true).await)
    }

    async fn enable_account(
        &self,
        request: Request<EnableAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        answer(self.service.switch_account(&permit, &name, false).await)
    }

    async fn revoke_account(
        &self,
        request: Request<RevokeAccountRequest>,
    ) -> Result<Response<RevokeAccountResponse>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let revoked = self.service.revoke_account(&permit, &name).await;
        let (view, revoked_at_provider) = status::or(revoked)?;
        Ok(Response::new(RevokeAccountResponse { account: Some(pack(view)), revoked_at_provider }))
    }

    async fn refresh_account(
        &self,
        request: Request<RefreshAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let audience = status::or(bounded("audience", &request.get_ref().audience, 63))?;
        answer(self.service.refresh_account(&permit, &name, &audience).await)
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<()>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let seen = status::or(version("etag", &request.get_ref().etag))?;
        status::or(self.service.delete_account(&permit, &name, seen).await)?;
        Ok(Response::new(()))
    }

    async fn diagnose_account(
        &self,
        request: Request<DiagnoseAccountRequest>,
    ) -> Result<Response<DiagnoseAccountResponse>, Status> {
        let (owner, name) = status::or(account("name", &request.get_ref().name))?;
        let permit = self.manager(&request, &owner).await?;
        let diagnosed = self.service.diagnose_account(&permit, &name).await;
        let (view, findings) = status::or(diagnosed)?;
        Ok(Response::new(DiagnoseAccountResponse {
            account: Some(pack(view)),
            findings: findings.into_iter().map(charts::pack_finding).collect(),
        }))
    }
}

fn answer(outcome: Result<AccountView, Error>) -> Result<Response<v1::Account>, Status> {
    status::or(outcome).map(|view| Response::new(pack(view)))
}

fn change(account: &v1::Account, mask: &[String]) -> Result<AccountChange, Error> {
    let mut change = AccountChange::default();
    for path in mask {
        match path.as_str() {
            "display_name" => {
                let name = bounded("account.display_name", &account.display_name, 100)?;
                change.display_name = Some(name);
            }
            "labels" => change.labels = Some(labels("account.labels", &account.labels)?),
            "sasl_user" => {
                change.sasl_user = Some(bounded("account.sasl_user", &account.sasl_user, 320)?);
            }
            other => return Err(unknown_path(other)),
        }
    }
    Ok(change)
}

const fn filter(state: AccountState) -> AccountFilter {
    match state {
        AccountState::Unspecified => AccountFilter::All,
        AccountState::Disabled => AccountFilter::Disabled,
        AccountState::Pending => AccountFilter::Standing(Standing::Pending),
        AccountState::Active => AccountFilter::Standing(Standing::Active),
        AccountState::NeedsConsent => AccountFilter::Standing(Standing::NeedsConsent),
        AccountState::NeedsInteraction => AccountFilter::Standing(Standing::NeedsInteraction),
        AccountState::BlockedByPolicy => AccountFilter::Standing(Standing::BlockedByPolicy),
        AccountState::Revoked => AccountFilter::Standing(Standing::Revoked),
    }
}

const fn state(account: &Account) -> (AccountState, ErrorReason) {
    if account.disabled {
        return (AccountState::Disabled, ErrorReason::AccountDisabled);
    }
    match account.standing {
        Standing::Pending => (AccountState::Pending, ErrorReason::AccountDisabled),
        Standing::Active => (AccountState::Active, ErrorReason::Unspecified),
        Standing::NeedsConsent => (AccountState::NeedsConsent, ErrorReason::AccountNeedsConsent),
        Standing::NeedsInteraction => {
            (AccountState::NeedsInteraction, ErrorReason::AccountNeedsInteraction)
        }
        Standing::BlockedByPolicy => {
            (AccountState::BlockedByPolicy, ErrorReason::AccountBlockedByPolicy)
        }
        Standing::Revoked => (AccountState::Revoked, ErrorReason::AccountNeedsConsent),
    }
}

/// An account for the wire.
pub(super) fn pack(view: AccountView) -> v1::Account {
    let AccountView { account, app, generation, token, state: turns, chart } = view;
    let (state, reason) = state(&account);
    v1::Account {
        name: format!("projects/{}/accounts/{}", account.project, account.name),
        mailbox: account.mailbox.to_string(),
        display_name: account.display_name,
        app: format!("projects/{}/apps/{}", app.project, app.name),
        labels: account.labels.into_iter().collect(),
        state: state.into(),
        reason: reason.into(),
        provider_code: account.provider_code,
        provider_message: account.provider_message,
        subject: account.subject,
        generation,
        token_expire_time: token.map(|token| timestamp(token.expires_at)),
        refresh_time: turns.refreshed_at.map(timestamp),
        create_time: Some(timestamp(account.created_at)),
        update_time: Some(timestamp(account.updated_at)),
        etag: etag(account.version),
        sasl_user: account.sasl_user,
        revocation_pending: account.standing == Standing::Revoked && generation != 0,
        refresh: chart.map(|chart| charts::pack(&chart)),
    }
}
