//! An operator's hand: one call of the admin plane at one broker.
//!
//! Nothing is repeated. Invariant: a rule that is written as a whole (rights, protocols) is written on the version that was
//! read just before, so that a call which comes late changes nothing. Next: [`super::desk`] decides what is done.

use std::collections::HashMap;
use std::time::Duration;

use prost_types::FieldMask;
use token_broker_client::v1;
use token_broker_client::v1::account_service_client::AccountServiceClient;
use token_broker_client::v1::app_service_client::AppServiceClient;
use token_broker_client::v1::caller_service_client::CallerServiceClient;
use token_broker_client::v1::consent_service_client::ConsentServiceClient;
use token_broker_client::v1::credential_service_client::CredentialServiceClient;
use token_broker_client::v1::session_service_client::SessionServiceClient;
use tonic::Request;
use tonic::transport::Channel;

use super::clients::{Key, Told, heard, signed};
use crate::world::Owner;

/// How long an operator waits for an answer: shorter than a long pause, so that some are lost.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an owner may be at a consent.
const CONSENT: Duration = Duration::from_secs(30);
/// The key of the label by which services are given accounts.
pub(super) const LABEL: &str = "group";

/// See above. For one call.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    channel: Channel,
    key: Key,
}

impl Hand {
    pub(super) fn new((channel, key): (Channel, Key)) -> Self {
        Self { channel, key }
    }

    fn sign<T>(&self, message: T) -> Request<T> {
        signed(&self.key, DEADLINE, message)
    }

    fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    fn callers(&self) -> CallerServiceClient<Channel> {
        CallerServiceClient::new(self.channel.clone())
    }

    fn credentials(&self) -> CredentialServiceClient<Channel> {
        CredentialServiceClient::new(self.channel.clone())
    }

    pub(super) async fn create_credential(
        self,
        parent: String,
    ) -> Told<v1::CreateCredentialResponse> {
        let protocols = vec![v1::MailProtocol::Imap.into(), v1::MailProtocol::Smtp.into()];
        let credential = Some(v1::Credential { protocols, ..Default::default() });
        let ask = self.sign(v1::CreateCredentialRequest { parent, credential });
        heard(DEADLINE, self.credentials().create_credential(ask)).await
    }

    /// The old one ends at once.
    pub(super) async fn rotate_credential(
        self,
        name: String,
    ) -> Told<v1::RotateCredentialResponse> {
        let overlap = Some(prost_types::Duration::default());
        let ask = self.sign(v1::RotateCredentialRequest { name, overlap });
        heard(DEADLINE, self.credentials().rotate_credential(ask)).await
    }

    pub(super) async fn revoke_credential(self, name: String) -> Told<v1::Credential> {
        let ask = self.sign(v1::RevokeCredentialRequest { name });
        heard(DEADLINE, self.credentials().revoke_credential(ask)).await
    }

    pub(super) async fn delete_credential(self, name: String) -> Told<()> {
        let ask = self.sign(v1::DeleteCredentialRequest { name });
        heard(DEADLINE, self.credentials().delete_credential(ask)).await
    }

    pub(super) async fn account(self, name: String) -> Told<v1::Account> {
        let ask = self.sign(v1::GetAccountRequest { name });
        heard(DEADLINE, self.accounts().get_account(ask)).await
    }

    pub(super) async fn disable_account(self, name: String) -> Told<v1::Account> {
        let ask = self.sign(v1::DisableAccountRequest { name });
        heard(DEADLINE, self.accounts().disable_account(ask)).await
    }

    pub(super) async fn enable_account(self, name: String) -> Told<v1::Account> {
        let ask = self.sign(v1::EnableAccountRequest { name });
        heard(DEADLINE, self.accounts().enable_account(ask)).await
    }

    pub(super) async fn revoke_account(self, name: String) -> Told<v1::RevokeAccountResponse> {
        let ask = self.sign(v1::RevokeAccountRequest { name });
        heard(DEADLINE, self.accounts().revoke_account(ask)).await
    }

    pub(super) async fn delete_account(self, name: String) -> Told<()> {
        let ask = self.sign(v1::DeleteAccountRequest { name, etag: String::new() });
        heard(DEADLINE, self.accounts().delete_account(ask)).await
    }

    /// Has the account carry this label, or none.
    pub(super) async fn label(self, name: String, label: Option<usize>) -> Told<v1::Account> {
        let labels = label.map(labels).unwrap_or_default();
        let account = Some(v1::Account { name, labels, ..Default::default() });
        let ask = v1::UpdateAccountRequest { account, update_mask: mask("labels") };
        heard(DEADLINE, self.accounts().update_account(self.sign(ask))).await
    }

    pub(super) async fn switch_app(self, name: String, disabled: bool) -> Told<v1::App> {
        let app = Some(v1::App { name, disabled, ..Default::default() });
        let ask = v1::UpdateAppRequest { app, update_mask: mask("disabled") };
        let mut apps = AppServiceClient::new(self.channel.clone());
        heard(DEADLINE, apps.update_app(self.sign(ask))).await
    }

    pub(super) async fn create_caller(
        self,
        id: String,
        caller: v1::Caller,
    ) -> Told<v1::CreateCallerResponse> {
        let caller = Some(caller);
        let ask = v1::CreateCallerRequest { caller_id: id, caller, ..Default::default() };
        heard(DEADLINE, self.callers().create_caller(self.sign(ask))).await
    }

    /// Changes one field of a caller as it is now.
    pub(super) async fn update_caller(
        self,
        changed: v1::Caller,
        field: &'static str,
    ) -> Told<v1::Caller> {
        let read = self.sign(v1::GetCallerRequest { name: changed.name.clone() });
        let seen = match heard(DEADLINE, self.callers().get_caller(read)).await {
            Told::Done(seen) => seen,
            other => return other,
        };
        let caller = Some(v1::Caller { etag: seen.etag, ..changed });
        let ask = v1::UpdateCallerRequest { caller, update_mask: mask(field) };
        heard(DEADLINE, self.callers().update_caller(self.sign(ask))).await
    }

    pub(super) async fn create_key(self, name: String) -> Told<v1::CreateCallerKeyResponse> {
        let ask = self.sign(v1::CreateCallerKeyRequest { name, ttl: None });
        heard(DEADLINE, self.callers().create_caller_key(ask)).await
    }

    pub(super) async fn revoke_key(self, name: String, key_id: String) -> Told<v1::Caller> {
        let ask = self.sign(v1::RevokeCallerKeyRequest { name, key_id });
        heard(DEADLINE, self.callers().revoke_caller_key(ask)).await
    }

    pub(super) async fn revoke_caller(self, name: String) -> Told<v1::Caller> {
        let ask = self.sign(v1::RevokeCallerRequest { name });
        heard(DEADLINE, self.callers().revoke_caller(ask)).await
    }

    pub(super) async fn delete_caller(self, name: String) -> Told<()> {
        let ask = self.sign(v1::DeleteCallerRequest { name });
        heard(DEADLINE, self.callers().delete_caller(ask)).await
    }

    pub(super) async fn end_session(self, name: String) -> Told<v1::Session> {
        let ask = self.sign(v1::EndSessionRequest { name });
        let mut sessions = SessionServiceClient::new(self.channel.clone());
        heard(DEADLINE, sessions.end_session(ask)).await
    }

    /// The owner of `mailbox` consents, at this broker; a new account gets the label.
    pub(super) async fn consent(self, app: String, mailbox: String, label: usize) -> Told<()> {
        let consenting = self.walk(app, mailbox, label);
        tokio::time::timeout(CONSENT, consenting).await.unwrap_or(Told::Open)
    }

    async fn walk(self, app: String, mailbox: String, label: usize) -> Told<()> {
        let ask = v1::CreateConsentRequest {
            app,
            mode: v1::ConsentMode::Invitation.into(),
            expected_mailbox: mailbox.clone(),
            requester: "the help desk".to_owned(),
            labels: labels(label),
            ..Default::default()
        };
        let mut consents = ConsentServiceClient::new(self.channel.clone());
        let made = match heard(DEADLINE, consents.create_consent(self.sign(ask))).await {
            Told::Done(made) => made,
            Told::Refused(reason) => return Told::Refused(reason),
            Told::Open => return Told::Open,
        };
        let Ok(mut owner) = Owner::of(&mailbox) else { return Told::Open };
        if owner.accept(&made.uri).await.is_err() {
            return Told::Open;
        }
        let ask = self.sign(v1::GetConsentRequest { name: made.name });
        match heard(DEADLINE, consents.get_consent(ask)).await {
            Told::Done(consent) if consent.state() == v1::ConsentState::Finished => Told::Done(()),
            _ => Told::Open,
        }
    }
}

/// The label with this number.
pub(super) fn labels(number: usize) -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), format!("g{number}"))])
}

fn mask(field: &str) -> Option<FieldMask> {
    Some(FieldMask { paths: vec![field.to_owned()] })
}
