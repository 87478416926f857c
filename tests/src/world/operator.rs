//! The one who runs the broker: `brokerctl` in one hand, the admin API in the other.
//!
//! A person's acts go through the real tool; what a test asks a hundred times goes over the SDK. Next: [`super::owner`], whom
//! the operator invites.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use token_broker_client::{Admin, Options, TokenBroker, v1};

use super::binaries::binary;
use super::command::{Program, Run};
use super::house::House;
use super::owner::Owner;

/// Somebody with an API key for the admin door.
#[derive(Clone, Debug)]
pub struct Operator {
    tool: PathBuf,
    server: String,
    key_file: PathBuf,
    folder: PathBuf,
    admin: Admin,
    tokens: TokenBroker,
}

impl Operator {
    /// With the key in `key_file`.
    ///
    /// # Errors
    /// There is no such key file.
    pub async fn with_key(house: &House, key_file: &Path) -> Result<Self> {
        let server = format!("http://{}", house.doors().admin);
        let options =
            || Options::new(&server).api_key_file(key_file).deadline(Duration::from_secs(30));
        Ok(Self {
            tool: binary("brokerctl")?,
            admin: Admin::connect(options()).await?,
            tokens: TokenBroker::connect(options().cache_entries(0)).await?,
            server,
            key_file: key_file.to_path_buf(),
            folder: house.folder().to_path_buf(),
        })
    }

    /// Over the SDK.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Tokens, as the same caller gets them at the admin door.
    pub fn tokens(&self) -> &TokenBroker {
        &self.tokens
    }

    /// The file with the API key.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// The admin door's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// `brokerctl --json ..`, not run yet.
    pub fn tool(&self, arguments: &[&str]) -> Program {
        Program::new(&self.tool)
            .env("BROKERCTL_SERVER", &self.server)
            .env("BROKERCTL_KEY_FILE", &self.key_file)
            .env("XDG_CONFIG_HOME", &self.folder)
            .env("NO_COLOR", "1")
            .arg("--json")
            .args(arguments.iter().copied())
    }

    /// Runs `brokerctl --json ..`, whatever comes of it.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn try_ctl(&self, arguments: &[&str]) -> Result<Run> {
        self.tool(arguments).run().await
    }

    /// Runs `brokerctl --json ..`, which must work; its answer.
    ///
    /// # Errors
    /// It ends with another code than 0.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<Value> {
        self.try_ctl(arguments).await?.ok()?.json()
    }

    /// Registers an app.
    ///
    /// # Errors
    /// The broker refuses it.
    pub async fn register(&self, id: &str, app: v1::App, secret: &str) -> Result<v1::App> {
        let ask = v1::CreateAppRequest {
            app_id: id.to_owned(),
            app: Some(app),
            client_secret: secret.to_owned(),
            ..Default::default()
        };
        Ok(self.admin.ask(self.admin.apps().create_app(ask)).await?)
    }

    /// The API key of a new service with the right to every account's mail.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn service_key(&self, id: &str) -> Result<String> {
        let right = v1::Right {
            accounts: Some(v1::AccountSelector { all: true, ..Default::default() }),
            audiences: vec!["mail".to_owned()],
            ..Default::default()
        };
        let role = v1::CallerRole::Service;
        let (_, key) = self.caller(id, role, |caller| caller.rights = vec![right]).await?;
        Ok(key)
    }

    /// An account as it stands.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn account(&self, name: &str) -> Result<v1::Account> {
        let ask = v1::GetAccountRequest { name: name.to_owned() };
        Ok(self.admin.ask(self.admin.accounts().get_account(ask)).await?)
    }

    /// How a consent stands.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn consent(&self, name: &str) -> Result<v1::Consent> {
        let ask = v1::GetConsentRequest { name: name.to_owned() };
        Ok(self.admin.ask(self.admin.consents().get_consent(ask)).await?)
    }

    /// A link for the owner of `mailbox`.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn invite(&self, app: &str, mailbox: &str) -> Result<v1::Consent> {
        let ask = v1::CreateConsentRequest {
            app: app.to_owned(),
            mode: v1::ConsentMode::Invitation.into(),
            expected_mailbox: mailbox.to_owned(),
            requester: "the help desk".to_owned(),
            ..Default::default()
        };
        Ok(self.admin.ask(self.admin.consents().create_consent(ask)).await?)
    }

    /// Connects `mailbox` by an invitation that its owner accepts; the account.
    ///
    /// # Errors
    /// Somebody refuses.
    pub async fn connect(&self, app: &str, mailbox: &str) -> Result<v1::Account> {
        let invitation = self.invite(app, mailbox).await?;
        let page = Owner::of(mailbox)?.accept(&invitation.uri).await?;
        let consent = self.consent(&invitation.name).await?;
        ensure!(
            consent.state() == v1::ConsentState::Finished,
            "not connected: {}\n{}",
            consent.failure,
            page.text
        );
        self.account(mailbox).await
    }

    /// A password for `account`, for IMAP and SMTP, with `change` made to it first.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn credential(
        &self,
        account: &str,
        change: impl FnOnce(&mut v1::Credential),
    ) -> Result<(v1::Credential, String)> {
        let protocols = vec![v1::MailProtocol::Imap.into(), v1::MailProtocol::Smtp.into()];
        let mut credential = v1::Credential { protocols, ..Default::default() };
        change(&mut credential);
        let parent = account.to_owned();
        let ask = v1::CreateCredentialRequest { parent, credential: Some(credential) };
        let made = self.admin.ask(self.admin.credentials().create_credential(ask)).await?;
        Ok((made.credential.context("no credential")?, made.secret))
    }

    /// Ends a credential.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn revoke_credential(&self, name: &str) -> Result<()> {
        let ask = v1::RevokeCredentialRequest { name: name.to_owned() };
        self.admin.ask(self.admin.credentials().revoke_credential(ask)).await?;
        Ok(())
    }

    /// A new caller and its key.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn caller(
        &self,
        id: &str,
        role: v1::CallerRole,
        change: impl FnOnce(&mut v1::Caller),
    ) -> Result<(v1::Caller, String)> {
        let mut caller = v1::Caller { role: role.into(), ..Default::default() };
        change(&mut caller);
        let ask = v1::CreateCallerRequest {
            caller_id: id.to_owned(),
            caller: Some(caller),
            ..Default::default()
        };
        let made = self.admin.ask(self.admin.callers().create_caller(ask)).await?;
        Ok((made.caller.context("no caller")?, made.api_key))
    }

    /// The audit's latest records, newest or oldest first as the broker gives them.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn audit(&self) -> Result<Vec<v1::AuditRecord>> {
        let ask = v1::ListAuditRecordsRequest { page_size: 1000, ..Default::default() };
        Ok(self.admin.ask(self.admin.audit().list_audit_records(ask)).await?.records)
    }
}
