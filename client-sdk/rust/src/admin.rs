//! The admin plane: the generated clients over a connection that knows the API key.
//!
//! Never repeats a call. Invariant: [`Admin::ask`] ends within the deadline, with the typed [`Error`]. Next: `door`.

use std::future::Future;
use std::time::Duration;

use tokenbroker_proto::v1::account_service_client::AccountServiceClient;
use tokenbroker_proto::v1::app_service_client::AppServiceClient;
use tokenbroker_proto::v1::audit_service_client::AuditServiceClient;
use tokenbroker_proto::v1::caller_service_client::CallerServiceClient;
use tokenbroker_proto::v1::consent_service_client::ConsentServiceClient;
use tokenbroker_proto::v1::credential_service_client::CredentialServiceClient;
use tokenbroker_proto::v1::key_service_client::KeyServiceClient;
use tokenbroker_proto::v1::session_service_client::SessionServiceClient;
use tokenbroker_proto::v1::system_service_client::SystemServiceClient;
use tonic::{Response, Status};

use crate::door::Door;
use crate::errors::Error;
use crate::options::Options;
use crate::transport::Connection;

/// The admin clients. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Admin {
    connection: Connection,
    deadline: Duration,
}

impl Admin {
    /// Checks `options`. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong and what to do.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        Ok(Self::over(Connection::open(&options).await?))
    }

    /// Over a connection that is there.
    pub fn over(connection: Connection) -> Self {
        Self { deadline: connection.deadline(), connection }
    }

    /// The same clients for calls that may take `deadline`: those that make the broker call a provider.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { connection: self.connection.clone(), deadline }
    }

    fn door(&self) -> Door {
        self.connection.door().within(self.deadline)
    }

    /// Awaits a call of one of the clients, within the deadline.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn ask<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(self.deadline, call).await;
        Ok(answer.map_err(|_| Error::Deadline)??.into_inner())
    }

    /// Apps.
    pub fn apps(&self) -> AppServiceClient<Door> {
        AppServiceClient::new(self.door())
    }

    /// Accounts.
    pub fn accounts(&self) -> AccountServiceClient<Door> {
        AccountServiceClient::new(self.door())
    }

    /// Consents.
    pub fn consents(&self) -> ConsentServiceClient<Door> {
        ConsentServiceClient::new(self.door())
    }

    /// Proxy credentials.
    pub fn credentials(&self) -> CredentialServiceClient<Door> {
        CredentialServiceClient::new(self.door())
    }

    /// Callers.
    pub fn callers(&self) -> CallerServiceClient<Door> {
        CallerServiceClient::new(self.door())
    }

    /// The audit.
    pub fn audit(&self) -> AuditServiceClient<Door> {
        AuditServiceClient::new(self.door())
    }

    /// Mail sessions.
    pub fn sessions(&self) -> SessionServiceClient<Door> {
        SessionServiceClient::new(self.door())
    }

    /// The keys that everything secret is sealed with.
    pub fn keys(&self) -> KeyServiceClient<Door> {
        KeyServiceClient::new(self.door())
    }

    /// The broker itself.
    pub fn system(&self) -> SystemServiceClient<Door> {
        SystemServiceClient::new(self.door())
    }
}
