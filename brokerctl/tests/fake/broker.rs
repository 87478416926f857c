//! A broker in this process that answers what the test says, and the real binary run against it.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokenbroker_proto::v1::account_service_server::{AccountService, AccountServiceServer};
use tokenbroker_proto::v1::app_service_server::{AppService, AppServiceServer};
use tokenbroker_proto::v1::audit_service_server::{AuditService, AuditServiceServer};
use tokenbroker_proto::v1::caller_service_server::{CallerService, CallerServiceServer};
use tokenbroker_proto::v1::consent_service_server::{ConsentService, ConsentServiceServer};
use tokenbroker_proto::v1::credential_service_server::{
    CredentialService, CredentialServiceServer,
};
use tokenbroker_proto::v1::key_service_server::{KeyService, KeyServiceServer};
use tokenbroker_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use tokenbroker_proto::v1::system_service_server::{SystemService, SystemServiceServer};
use tokenbroker_proto::v1::token_service_server::{TokenService, TokenServiceServer};
use tokenbroker_proto::v1::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

type Play = Box<dyn Fn(&dyn Any) -> Result<Box<dyn Any>, Status> + Send>;

/// The broker.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    plays: Arc<Mutex<HashMap<&'static str, Play>>>,
}

impl Fake {
    /// From now on `method` is answered so.
    pub(crate) fn on<A: 'static, R: 'static>(
        &self,
        method: &'static str,
        answer: impl Fn(&A) -> Result<R, Status> + Send + 'static,
    ) {
        let play: Play = Box::new(move |ask| {
            answer(ask.downcast_ref::<A>().unwrap()).map(|answer| Box::new(answer) as Box<dyn Any>)
        });
        self.plays.lock().unwrap().insert(method, play);
    }

    fn play<A: 'static, R: 'static>(
        &self,
        method: &str,
        ask: Request<A>,
    ) -> Result<Response<R>, Status> {
        let key = ask.metadata().get("authorization").and_then(|key| key.to_str().ok());
        if key != Some("Bearer tbk_canary") {
            return Err(refusal(Code::Unauthenticated, "UNAUTHENTICATED", "who are you"));
        }
        let plays = self.plays.lock().unwrap();
        let Some(play) = plays.get(method) else {
            return Err(Status::unimplemented(method.to_owned()));
        };
        let answer = play(ask.get_ref())?;
        Ok(Response::new(*answer.downcast::<R>().unwrap()))
    }

    /// Starts it.
    pub(crate) async fn start(&self) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(AppServiceServer::new(self.clone()))
            .add_service(AccountServiceServer::new(self.clone()))
            .add_service(ConsentServiceServer::new(self.clone()))
            .add_service(CredentialServiceServer::new(self.clone()))
            .add_service(CallerServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(SessionServiceServer::new(self.clone()))
            .add_service(SystemServiceServer::new(self.clone()))
            .add_service(KeyServiceServer::new(self.clone()))
            .add_service(TokenServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.await.unwrap() });
        World { address, home: tempfile::tempdir().unwrap(), _tasks: tasks }
    }
}

/// A refusal as the contract has it.
pub(crate) fn refusal(code: Code, reason: &str, words: &str) -> Status {
    detailed(code, reason, words, ErrorDetails::new())
}

/// The same with more details.
pub(crate) fn detailed(code: Code, reason: &str, words: &str, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason, "tokenbroker", HashMap::<String, String>::new());
    Status::with_error_details(code, words, details)
}

/// The broker running, and a home for the tool.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) home: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// stdout as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let read = serde_json::from_str(&self.stdout);
        read.map_err(|error| format!("{error}: {} / {}", self.stdout, self.stderr)).unwrap()
    }

    /// stderr's error as JSON.
    pub(crate) fn error(&self) -> serde_json::Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(line).unwrap()["error"].take()
    }
}

impl World {
    /// The binary with a clean environment, ready to run.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brokerctl"));
        command
            .args(args.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .env("BROKERCTL_SERVER", format!("http://{}", self.address))
            .env("BROKERCTL_KEY", "tbk_canary")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to the end.
    pub(crate) async fn run(&self, args: &str) -> Run {
        finish(self.command(args)).await
    }

    /// Runs it with something on stdin.
    pub(crate) async fn run_with(&self, args: &str, stdin: &str) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        ended(child.wait_with_output().await.unwrap())
    }
}

/// Runs a command to the end.
pub(crate) async fn finish(mut command: Command) -> Run {
    ended(command.output().await.unwrap())
}

fn ended(output: std::process::Output) -> Run {
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

type Soon<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

macro_rules! answers {
    ($service:ident { $($method:ident($ask:ty) -> $answer:ty;)* }) => {
        impl $service for Fake {
            $(fn $method<'life0, 'async_trait>(
                &'life0 self,
                request: Request<$ask>,
            ) -> Soon<'async_trait, $answer>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                let answer = self.play(stringify!($method), request);
                Box::pin(async move { answer })
            })*
        }
    };
}

answers! { AppService {
    create_app(CreateAppRequest) -> App;
    get_app(GetAppRequest) -> App;
    list_apps(ListAppsRequest) -> ListAppsResponse;
    update_app(UpdateAppRequest) -> App;
    delete_app(DeleteAppRequest) -> ();
    add_app_secret(AddAppSecretRequest) -> App;
    activate_app_secret(ActivateAppSecretRequest) -> App;
    remove_app_secret(RemoveAppSecretRequest) -> App;
    verify_app(VerifyAppRequest) -> VerifyAppResponse;
    list_presets(ListPresetsRequest) -> ListPresetsResponse;
} }
answers! { AccountService {
    get_account(GetAccountRequest) -> Account;
    list_accounts(ListAccountsRequest) -> ListAccountsResponse;
    update_account(UpdateAccountRequest) -> Account;
    disable_account(DisableAccountRequest) -> Account;
    enable_account(EnableAccountRequest) -> Account;
    revoke_account(RevokeAccountRequest) -> RevokeAccountResponse;
    refresh_account(RefreshAccountRequest) -> Account;
    delete_account(DeleteAccountRequest) -> ();
    diagnose_account(DiagnoseAccountRequest) -> DiagnoseAccountResponse;
} }
answers! { ConsentService {
    create_consent(CreateConsentRequest) -> Consent;
    get_consent(GetConsentRequest) -> Consent;
    list_consents(ListConsentsRequest) -> ListConsentsResponse;
    cancel_consent(CancelConsentRequest) -> Consent;
    exchange_consent(ExchangeConsentRequest) -> Consent;
    finish_consent(FinishConsentRequest) -> Consent;
} }
answers! { CredentialService {
    create_credential(CreateCredentialRequest) -> CreateCredentialResponse;
    get_credential(GetCredentialRequest) -> Credential;
    list_credentials(ListCredentialsRequest) -> ListCredentialsResponse;
    rotate_credential(RotateCredentialRequest) -> RotateCredentialResponse;
    revoke_credential(RevokeCredentialRequest) -> Credential;
    delete_credential(DeleteCredentialRequest) -> ();
} }
answers! { CallerService {
    create_caller(CreateCallerRequest) -> CreateCallerResponse;
    get_caller(GetCallerRequest) -> Caller;
    list_callers(ListCallersRequest) -> ListCallersResponse;
    update_caller(UpdateCallerRequest) -> Caller;
    create_caller_key(CreateCallerKeyRequest) -> CreateCallerKeyResponse;
    revoke_caller_key(RevokeCallerKeyRequest) -> Caller;
    revoke_caller(RevokeCallerRequest) -> Caller;
    delete_caller(DeleteCallerRequest) -> ();
    who_am_i(WhoAmIRequest) -> Caller;
} }
answers! { AuditService {
    list_audit_records(ListAuditRecordsRequest) -> ListAuditRecordsResponse;
    list_audit_chains(ListAuditChainsRequest) -> ListAuditChainsResponse;
    export_audit_records(ExportAuditRecordsRequest) -> ExportAuditRecordsResponse;
    verify_audit(VerifyAuditRequest) -> VerifyAuditResponse;
} }
answers! { SessionService {
    list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    get_session(GetSessionRequest) -> Session;
    end_session(EndSessionRequest) -> Session;
    end_sessions(EndSessionsRequest) -> EndSessionsResponse;
} }
answers! { SystemService {
    get_system_status(GetSystemStatusRequest) -> GetSystemStatusResponse;
    drain_broker(DrainBrokerRequest) -> ServingState;
    resume_broker(ResumeBrokerRequest) -> ServingState;
    reset_breaker(ResetBreakerRequest) -> ResetBreakerResponse;
} }
answers! { KeyService {
    get_key_status(GetKeyStatusRequest) -> KeyStatus;
    rotate_key_encryption_key(RotateKeyEncryptionKeyRequest) -> KeyStatus;
    create_key_term(CreateKeyTermRequest) -> KeyStatus;
    start_reseal(StartResealRequest) -> KeyStatus;
    remove_key_term(RemoveKeyTermRequest) -> KeyStatus;
} }
answers! { TokenService {
    get_access_token(GetAccessTokenRequest) -> GetAccessTokenResponse;
    batch_get_access_tokens(BatchGetAccessTokensRequest) -> BatchGetAccessTokensResponse;
    get_token_status(GetTokenStatusRequest) -> GetTokenStatusResponse;
} }
