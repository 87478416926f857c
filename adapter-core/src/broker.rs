//! The broker, asked with a deadline and over several endpoints.
//!
//! Never keeps a call waiting for a broker that is away, and never logs what it carries. Invariant: an error here is about
//! the broker or about us, a wrong credential is an answer. A call goes to the next endpoint only if the one before
//! surely did not take it (`UNAVAILABLE`); when the time is over, only the next call does. Next: `login` decides.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokenbroker_proto::v1;
use tokenbroker_proto::v1::mail_login_service_client::MailLoginServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::metrics::Metrics;
use crate::session::{Answer, Malformed};
use crate::settings::BrokerSettings;

/// Longest wait for an answer, all endpoints together.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for one endpoint's connection; short enough to try another within [`DEADLINE`].
const CONNECT: Duration = Duration::from_millis(1_500);
/// Largest message taken, in bytes; the contract says 64 KiB.
const MAX_MESSAGE: usize = 64 * 1024;

type Client = MailLoginServiceClient<Channel>;
type Reply<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// Why there is no answer. Whoever asked is not to blame.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No endpoint could be reached, or none can work now.
    #[error("no broker can be reached: {0}")]
    Unreachable(String),
    /// None answered in time.
    #[error("the broker did not answer within {} s", DEADLINE.as_secs())]
    TooSlow,
    /// Our API key is not taken, or may not do this.
    #[error("the broker refuses this adapter's key: {0}")]
    Forbidden(String),
    /// The broker answered with an error about our question.
    #[error("the broker answers {0}")]
    Failed(String),
    /// The answer is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("broker endpoint {endpoint}: {problem}")]
pub struct BrokerSetupError {
    endpoint: String,
    problem: String,
}

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    /// With their URLs.
    clients: Vec<(String, Client)>,
    preferred: AtomicUsize,
    answered: AtomicBool,
    key: MetadataValue<Ascii>,
    metrics: Metrics,
}

impl Broker {
    /// Prepares the connections; none is made before the first call.
    ///
    /// # Errors
    /// An endpoint or a root certificate that cannot be used.
    pub fn new(settings: &BrokerSettings, metrics: Metrics) -> Result<Self, BrokerSetupError> {
        let clients =
            settings.endpoints.iter().map(|url| client(url, settings)).collect::<Result<_, _>>()?;
        let mut key: MetadataValue<Ascii> =
            format!("Bearer {}", *settings.key).parse().map_err(|_| BrokerSetupError {
                endpoint: "all".to_owned(),
                problem: "the key cannot be sent".to_owned(),
            })?;
        key.set_sensitive(true);
        let (preferred, answered) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { clients, preferred, answered, key, metrics })))
    }

    /// Shows a login.
    ///
    /// # Errors
    /// [`BrokerError`]; never for a wrong credential.
    pub async fn open_session(
        &self,
        request: v1::OpenSessionRequest,
    ) -> Result<Answer, BrokerError> {
        let reply = self
            .call(|mut client| {
                let request = self.request(request.clone());
                Box::pin(async move { client.open_session(request).await })
            })
            .await?;
        Ok(Answer::try_from(reply)?)
    }

    /// Asks for another secret after the provider refused the one of `session`.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn renew_session(
        &self,
        session: &str,
        rejected_hash: [u8; 32],
    ) -> Result<Answer, BrokerError> {
        let message = v1::RenewSessionRequest {
            session: session.to_owned(),
            rejected_secret_hash: rejected_hash.to_vec(),
        };
        let reply = self
            .call(|mut client| {
                let request = self.request(message.clone());
                Box::pin(async move { client.renew_session(request).await })
            })
            .await?;
        Ok(Answer::try_from(reply)?)
    }

    /// Tells of sessions; with none it asks whether anybody is there.
    ///
    /// # Errors
    /// [`BrokerError`]; the reports may be sent again.
    pub async fn report_sessions(&self, reports: &[v1::SessionReport]) -> Result<(), BrokerError> {
        let message = v1::ReportSessionsRequest { reports: reports.to_vec() };
        self.call(|mut client| {
            let request = self.request(message.clone());
            Box::pin(async move { client.report_sessions(request).await })
        })
        .await
        .map(drop)
    }

    /// Whether the last call was answered.
    pub fn is_there(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.0.key.clone());
        request.set_timeout(DEADLINE);
        request
    }

    async fn call<T>(&self, send: impl Fn(Client) -> Reply<T>) -> Result<T, BrokerError> {
        let first = self.0.preferred.load(Ordering::Relaxed);
        let all = self.try_each(first, send);
        let result = match tokio::time::timeout(DEADLINE, all).await {
            Ok(result) => result,
            Err(_) => {
                self.0.preferred.store(first.wrapping_add(1), Ordering::Relaxed);
                Err(BrokerError::TooSlow)
            }
        };
        self.0.answered.store(result.is_ok(), Ordering::Relaxed);
        self.0.metrics.broker(result.is_ok());
        result
    }

    async fn try_each<T>(
        &self,
        first: usize,
        send: impl Fn(Client) -> Reply<T>,
    ) -> Result<T, BrokerError> {
        let mut last = String::new();
        for at in 0..self.0.clients.len() {
            let index = first.wrapping_add(at);
            let (url, client) = &self.0.clients[index % self.0.clients.len()];
            match send(client.clone()).await {
                Ok(reply) => {
                    self.0.preferred.store(index, Ordering::Relaxed);
                    return Ok(reply.into_inner());
                }
                Err(status) if status.code() == Code::Unavailable => {
                    last = format!("{url}: {}", status.message());
                }
                Err(status) => return Err(failure(&status)),
            }
        }
        Err(BrokerError::Unreachable(last))
    }
}

fn client(url: &str, settings: &BrokerSettings) -> Result<(String, Client), BrokerSetupError> {
    let wrong = |error: tonic::transport::Error| BrokerSetupError {
        endpoint: url.to_owned(),
        problem: error.to_string(),
    };
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(wrong)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    if url.starts_with("https:") {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if let Some(pem) = &settings.ca_pem {
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    let client = Client::new(endpoint.connect_lazy()).max_decoding_message_size(MAX_MESSAGE);
    Ok((url.to_owned(), client))
}

fn failure(status: &Status) -> BrokerError {
    let said = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => BrokerError::Forbidden(said),
        Code::DeadlineExceeded => BrokerError::TooSlow,
        _ => BrokerError::Failed(said),
    }
}
