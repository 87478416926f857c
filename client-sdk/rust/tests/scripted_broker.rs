//! The SDK against a broker in this process that answers what the test says.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use token_broker_client::v1::mail_login_service_server::{
    MailLoginService, MailLoginServiceServer,
};
use token_broker_client::v1::token_service_server::{TokenService, TokenServiceServer};
use token_broker_client::v1::*;
use token_broker_client::{Error, MailLogin, Options, TokenBroker, Verdict};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What the broker does with the next call.
enum Answer {
    Token(&'static str),
    Refuse(Status),
    Never,
}

#[derive(Clone, Default)]
struct Broker {
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    fn note<T>(&self, what: &str, request: &Request<T>) {
        let metadata = request.metadata();
        let key = metadata.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or("-");
        let timed = metadata.contains_key("grpc-timeout");
        self.seen.lock().unwrap().push(format!("{what} {key} timed={timed}"));
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn next(&self) -> Result<&'static str, Status> {
        let answer = self.script.lock().unwrap().pop_front();
        match answer {
            Some(Answer::Token(text)) => Ok(text),
            Some(Answer::Refuse(status)) => Err(status),
            Some(Answer::Never) => std::future::pending().await,
            None => Ok("usual"),
        }
    }

    /// Starts it on a runtime of its own, so that stopping it breaks its connections too.
    async fn start(&self) -> Running {
        self.start_on(tonic::transport::Server::builder()).await
    }

    async fn start_on(&self, mut server: tonic::transport::Server) -> Running {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = server
            .add_service(TokenServiceServer::new(self.clone()))
            .add_service(MailLoginServiceServer::new(self.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Running { address, runtime: Some(runtime) }
    }
}

struct Running {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until everything of it is gone.
    async fn stop(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn in_an_hour() -> Option<prost_types::Timestamp> {
    #[expect(clippy::disallowed_methods, reason = "the fake broker's own clock")]
    let now = SystemTime::now();
    Some((now + Duration::from_secs(3600)).into())
}

#[tonic::async_trait]
impl TokenService for Broker {
    async fn get_access_token(
        &self,
        request: Request<GetAccessTokenRequest>,
    ) -> Result<Response<GetAccessTokenResponse>, Status> {
        self.note("get", &request);
        let access_token = self.next().await?.to_owned();
        Ok(Response::new(GetAccessTokenResponse {
            access_token,
            expire_time: in_an_hour(),
            refresh_after: in_an_hour(),
            ..Default::default()
        }))
    }

    async fn batch_get_access_tokens(
        &self,
        request: Request<BatchGetAccessTokensRequest>,
    ) -> Result<Response<BatchGetAccessTokensResponse>, Status> {
        self.note("batch", &request);
        self.next().await?;
        Ok(Response::new(BatchGetAccessTokensResponse::default()))
    }

    async fn get_token_status(
        &self,
        request: Request<GetTokenStatusRequest>,
    ) -> Result<Response<GetTokenStatusResponse>, Status> {
        self.note("status", &request);
        self.next().await?;
        Ok(Response::new(GetTokenStatusResponse { available: true, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl MailLoginService for Broker {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        self.note("open", &request);
        let outcome = match self.next().await? {
            "denied" => open_session_response::Outcome::Denial(Denial {
                class: DenialClass::BadCredential.into(),
                ..Default::default()
            }),
            secret => open_session_response::Outcome::Session(session(secret)),
        };
        Ok(Response::new(OpenSessionResponse { outcome: Some(outcome) }))
    }

    async fn renew_session(
        &self,
        request: Request<RenewSessionRequest>,
    ) -> Result<Response<RenewSessionResponse>, Status> {
        self.note("renew", &request);
        let outcome = renew_session_response::Outcome::Session(session(self.next().await?));
        Ok(Response::new(RenewSessionResponse { outcome: Some(outcome) }))
    }

    async fn report_sessions(
        &self,
        request: Request<ReportSessionsRequest>,
    ) -> Result<Response<ReportSessionsResponse>, Status> {
        self.note("report", &request);
        self.next().await?;
        Ok(Response::new(ReportSessionsResponse {}))
    }

    type WatchRevocationsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    /// Each further answer of the script is a checkpoint; then it falls silent.
    async fn watch_revocations(
        &self,
        request: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        self.note("watch", &request);
        let cursor = self.next().await?.to_owned();
        let checkpoint = Some(Checkpoint { cursor, time: None });
        let first = WatchRevocationsResponse { ends: vec![], checkpoint };
        let told = tokio_stream::once(Ok(first)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(told)))
    }
}

fn session(secret: &str) -> MailSession {
    MailSession {
        session: "s1".into(),
        upstream: Some(MailHost { host: "imap.example".into(), port: 993, ..Default::default() }),
        secret: secret.into(),
        ..Default::default()
    }
}

fn scripted(answers: impl IntoIterator<Item = Answer>) -> Broker {
    let broker = Broker::default();
    broker.script.lock().unwrap().extend(answers);
    broker
}

fn options(url: impl Into<String>) -> Options {
    Options::new(url).api_key("tbk_canary")
}

fn away(retry_after: Option<Duration>) -> Answer {
    let mut details = ErrorDetails::new();
    details.set_error_info("BROKER_UNAVAILABLE", "tokenbroker", std::collections::HashMap::new());
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Answer::Refuse(Status::with_error_details(Code::Unavailable, "away", details))
}

fn login() -> OpenSessionRequest {
    OpenSessionRequest { login_name: "ann@example.com".into(), ..Default::default() }
}

/// An address nobody listens at.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

const SOON: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_token_comes_with_key_and_deadline_on_the_call() {
    let broker = scripted([Answer::Token("abc")]);
    let running = broker.start().await;
    let client = TokenBroker::connect(options(running.url())).await.unwrap();
    let token = client.access_token("ann@example.com").audience("mail").await.unwrap();
    assert_eq!(token.expose(), "abc");
    assert_eq!(broker.seen.lock().unwrap()[0], "get Bearer tbk_canary timed=true");
    assert!(!format!("{client:?}").contains("canary"));
}

#[tokio::test]
async fn an_endpoint_nobody_listens_at_is_passed_over_and_remembered() {
    let broker = Broker::default();
    let running = broker.start().await;
    let options = options(nobody().await).endpoint(running.url()).cache_entries(0);
    let client = TokenBroker::connect(options.clone()).await.unwrap();
    for _ in 0..3 {
        assert!(client.access_token("ann").await.is_ok());
    }
    let mail = MailLogin::connect(options).await.unwrap();
    let verdict = mail.open_session(login(), LONG).await.unwrap();
    assert!(matches!(verdict, Verdict::Session(_)), "nothing was sent, so even this one goes on");
}

#[tokio::test]
async fn a_broker_that_stops_is_left_for_the_next() {
    let (first, second) = (Broker::default(), Broker::default());
    let (one, two) = (first.start().await, second.start().await);
    let options = options(one.url()).endpoint(two.url()).cache_entries(0);
    let client = TokenBroker::connect(options).await.unwrap();
    client.access_token("ann").await.unwrap();
    one.stop().await;
    for _ in 0..3 {
        client.access_token("ann").await.unwrap();
    }
    assert_eq!(first.calls(), 1);
    assert_eq!(second.calls(), 3);
}

#[tokio::test]
async fn a_broker_that_cannot_and_does_not_say_when_is_left_for_the_next() {
    let (first, second) = (scripted([away(None)]), Broker::default());
    let (one, two) = (first.start().await, second.start().await);
    let options = options(one.url()).endpoint(two.url());
    let client = TokenBroker::connect(options).await.unwrap();
    client.access_token("ann").await.unwrap();
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn a_broker_that_says_when_is_asked_again_then() {
    let (first, second) = (scripted([away(Some(SOON)), away(Some(SOON))]), Broker::default());
    let (one, two) = (first.start().await, second.start().await);
    let options = options(one.url()).endpoint(two.url());
    let client = TokenBroker::connect(options).await.unwrap();
    client.access_token("ann").await.unwrap();
    client.token_status("ann", "").await.unwrap();
    assert_eq!((first.calls(), second.calls()), (4, 0));
}

#[tokio::test]
async fn a_wait_past_the_deadline_is_not_begun() {
    let broker = scripted([away(Some(LONG))]);
    let running = broker.start().await;
    let client = TokenBroker::connect(options(running.url())).await.unwrap();
    let error = client.access_token("ann").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(LONG));
    assert_eq!(broker.calls(), 1);
}

#[tokio::test]
async fn a_broker_that_never_answers_costs_the_deadline_and_no_more() {
    let broker = scripted([Answer::Never, Answer::Never, Answer::Never]);
    let running = broker.start().await;
    let client = TokenBroker::connect(options(running.url())).await.unwrap();
    let late = client.access_token("ann").deadline(Duration::from_millis(60)).await;
    assert_eq!(late.unwrap_err(), Error::Deadline);
    let mail = MailLogin::connect(options(running.url())).await.unwrap();
    let late = mail.open_session(login(), Duration::from_millis(60)).await;
    assert_eq!(late.unwrap_err(), Error::Deadline);
    assert_eq!(broker.calls(), 2);
}

#[tokio::test]
async fn a_login_is_never_repeated_once_it_was_sent() {
    let broker = scripted([away(Some(SOON)), away(None), away(Some(SOON))]);
    let running = broker.start().await;
    let mail = MailLogin::connect(options(running.url())).await.unwrap();
    assert!(mail.open_session(login(), LONG).await.unwrap_err().is_retryable());
    assert!(mail.renew_session("s1", [0; 32], LONG).await.is_err());
    assert!(mail.report_sessions(vec![]).await.is_err());
    assert_eq!(broker.calls(), 3);
}

#[tokio::test]
async fn the_next_login_goes_elsewhere_after_a_broker_that_hangs_or_cannot() {
    for trouble in [Answer::Never, away(None)] {
        let (first, second) = (scripted([trouble]), Broker::default());
        let (one, two) = (first.start().await, second.start().await);
        let mail = MailLogin::connect(options(one.url()).endpoint(two.url())).await.unwrap();
        assert!(mail.open_session(login(), Duration::from_millis(200)).await.is_err());
        assert_eq!((first.calls(), second.calls()), (1, 0), "a login that was sent stays one");
        mail.open_session(login(), LONG).await.unwrap();
        assert_eq!((first.calls(), second.calls()), (1, 1));
    }
}

#[tokio::test]
async fn a_wrong_login_is_an_answer_and_a_sessions_secret_does_not_print() {
    let broker = scripted([Answer::Token("denied"), Answer::Token("canary")]);
    let running = broker.start().await;
    let mail = MailLogin::connect(options(running.url())).await.unwrap();
    let verdict = mail.open_session(login(), LONG).await.unwrap();
    let Verdict::Denied(denial) = verdict else { panic!("denied") };
    assert_eq!(denial.class(), DenialClass::BadCredential);
    let verdict = mail.renew_session("s1", [7; 32], LONG).await.unwrap();
    assert!(!format!("{verdict:?}").contains("canary"));
    let Verdict::Session(session) = verdict else { panic!("a session") };
    assert_eq!(session.secret.expose(), "canary");
    assert_eq!(session.upstream.port, 993);
}

#[tokio::test]
async fn nobody_at_home_names_the_endpoint() {
    let url = nobody().await;
    let mail = MailLogin::connect(options(url.clone())).await.unwrap();
    let error = mail.open_session(login(), LONG).await.unwrap_err();
    let Error::Unreachable { endpoint, .. } = &error else { panic!("{error:?}") };
    assert!(endpoint.starts_with(&url), "{endpoint}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_host_that_swallows_packets_costs_many_callers_one_dial() {
    let full = Swallowing::new().await;
    let broker = Broker::default();
    let running = broker.start().await;
    let dial = Duration::from_millis(200);
    let options =
        options(full.url()).endpoint(running.url()).connect_timeout(dial).cache_entries(0);
    let client = TokenBroker::connect(options).await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        callers.spawn(async move { client.access_token(format!("a{number}")).await.map(|_| ()) });
    }
    // One after the other they would need 20 seconds, twice the deadline of a call.
    for outcome in callers.join_all().await {
        outcome.unwrap();
    }
}

/// A listener that accepts and then says nothing: TLS to it never ends.
struct Swallowing(TcpListener);

impl Swallowing {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("https://{}", self.0.local_addr().unwrap())
    }
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_and_not_without() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = tonic::transport::Identity::from_pem(&cert, key);
    let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
    let broker = Broker::default();
    let server = tonic::transport::Server::builder().tls_config(tls).unwrap();
    let running = broker.start_on(server).await;
    let url = format!("https://localhost:{}", running.address.port());
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), cert).unwrap();

    let trusting = TokenBroker::connect(options(&url).ca_file(ca.path())).await.unwrap();
    assert_eq!(trusting.access_token("ann").await.unwrap().expose(), "usual");

    let wary = MailLogin::connect(options(&url)).await.unwrap();
    let error = wary.open_session(login(), LONG).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(broker.calls(), 1, "the key went to nobody else");
}

#[tokio::test]
async fn a_watch_hears_checkpoints_and_leaves_a_broker_that_fell_silent() {
    let (first, second) = (scripted([Answer::Token("c1")]), scripted([Answer::Token("c2")]));
    let (one, two) = (first.start().await, second.start().await);
    let mail = MailLogin::connect(options(one.url()).endpoint(two.url())).await.unwrap();
    let patience = Duration::from_millis(500);
    let mut watch = mail.watch_revocations("", patience).await.unwrap();
    let heard = watch.next().await.unwrap().unwrap();
    assert_eq!(heard.checkpoint.unwrap().cursor, "c1");
    assert_eq!(watch.next().await, Err(Error::Deadline), "silent");
    let mut watch = mail.watch_revocations("c1", patience).await.unwrap();
    let heard = watch.next().await.unwrap().unwrap();
    assert_eq!(heard.checkpoint.unwrap().cursor, "c2", "the other broker");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_adapter_that_may_not_watch_is_told_so() {
    let refused = Status::permission_denied("no right");
    let broker = scripted([Answer::Refuse(refused)]);
    let running = broker.start().await;
    let mail = MailLogin::connect(options(running.url())).await.unwrap();
    let watch = mail.watch_revocations("c", Duration::from_secs(5)).await;
    assert!(matches!(watch, Err(Error::NotPermitted { .. })), "{watch:?}");
    running.stop().await;
}
