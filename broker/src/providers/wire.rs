//! The one outbound HTTP client: deadlines, a cap on answers, our TLS roots, no redirects, no proxies.
//!
//! Never retries and never logs a body or a URL. Invariant: one call is at most one request on the network, and the
//! error says whether that request can have reached the provider. Next: [`answer`](super::answer) reads what came.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, RETRY_AFTER};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::{Instant, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::domain::refusal::Reached;
use crate::providers::address::{AddressRefused, AddressRule, GuardedResolver};
use crate::providers::departure::{Departure, Timely};
use crate::providers::retry_after;

/// A deadline that is noticed so much too late was slept through, not waited for.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// How long after that an answer may still be read.
const AFTER_SLEEP: Duration = Duration::from_secs(2);

/// Limits of the client.
#[derive(Clone, Debug)]
pub struct WireSettings {
    /// From the look-up of the name to the end of the TLS handshake. A body that has not left by then is not sent.
    pub connect_deadline: Duration,
    /// From the call to the last byte of the answer.
    pub total_deadline: Duration,
    /// Bytes read of an answer; what comes after is not waited for.
    pub answer_cap: usize,
    /// PEM file with authorities to trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Which addresses may be called.
    pub addresses: AddressRule,
}

impl Default for WireSettings {
    /// 5 s, 10 s, 128 KiB (a refresh token of 64 KiB and its company fit), the system's roots, public https only.
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(5),
            total_deadline: Duration::from_secs(10),
            answer_cap: 128 * 1024,
            extra_ca_file: None,
            addresses: AddressRule::default(),
        }
    }
}

/// The client cannot be built: the operator's settings or machine are at fault.
#[derive(Debug, thiserror::Error)]
pub enum WireSetupError {
    /// The extra CA file is missing, unreadable or holds no certificate.
    #[error("no certificate can be read from {file}: {why}")]
    CaFile {
        /// The file as configured.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// TLS or the client refuse their settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// No answer. Carries neither URL nor body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The address is one we do not talk to.
    #[error("the endpoint is refused: {0}")]
    Forbidden(#[from] AddressRefused),
    /// Not a request that can be sent.
    #[error("the request cannot be formed")]
    Malformed,
    /// No connection: name, route, port or TLS.
    #[error("no connection to the provider")]
    Connect,
    /// There was none in time for the body, so that it was not sent.
    #[error("the request could not be sent in time")]
    Unsent,
    /// The deadline passed after the request was begun.
    #[error("the provider did not answer in time")]
    Deadline,
    /// The connection broke after the request was begun.
    #[error("the connection broke before the provider answered")]
    Broken,
}

impl WireError {
    /// Whether the request can have reached the provider.
    pub const fn reached(self) -> Reached {
        match self {
            Self::Forbidden(_) | Self::Malformed | Self::Connect | Self::Unsent => Reached::Never,
            Self::Deadline | Self::Broken => Reached::Maybe,
        }
    }
}

/// What came back. The body is wiped when dropped and never printed.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The wait asked for, at most one hour.
    pub retry_after: Option<Duration>,
    /// `max-age` of `Cache-Control`.
    pub max_age: Option<Duration>,
    /// The body, as much as came and fitted.
    pub body: Zeroizing<Vec<u8>>,
    /// False if the body was cut by the cap, the deadline or the network.
    pub whole: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Wire {
    client: reqwest::Client,
    clock: Clock,
    settings: Arc<WireSettings>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Wire {
    /// Builds the client; reads the trusted roots once.
    ///
    /// # Errors
    /// The CA file is unusable, or TLS refuses its set-up.
    #[expect(clippy::disallowed_methods, reason = "this is the one client")]
    pub fn new(settings: WireSettings, clock: Clock) -> Result<Self, WireSetupError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings.extra_ca_file.as_deref())?)
            .dns_resolver(Arc::new(GuardedResolver(settings.addresses)))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(settings.connect_deadline)
            .user_agent(concat!("token-broker/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WireSetupError::Client(error.without_url().to_string()))?;
        Ok(Self { client, clock, settings: Arc::new(settings) })
    }

    /// Which addresses this client calls.
    pub fn addresses(&self) -> AddressRule {
        self.settings.addresses
    }

    /// Sends one request and reads the answer up to the cap. A redirect is an answer like any other.
    ///
    /// # Errors
    /// No status line came; see [`WireError::reached`]. An answer that breaks off later is an answer, cut.
    pub async fn send(&self, request: HttpRequest) -> Result<Answer, WireError> {
        let began = Instant::now();
        let mut deadline = began + self.settings.total_deadline;
        let url = Url::parse(&request.uri().to_string()).map_err(|_| WireError::Malformed)?;
        self.settings.addresses.check(&url)?;
        let (head, body) = request.into_parts();
        let (body, departure) = Timely::new(body, began + self.settings.connect_deadline);
        let request = http::Request::from_parts(head, reqwest::Body::wrap(body));
        let request = reqwest::Request::try_from(request).map_err(|_| WireError::Malformed)?;
        let mut call = std::pin::pin!(self.client.execute(request));
        let mut response = timeout_at(deadline, &mut call).await;
        if response.is_err() && Instant::now() > deadline + OVERSLEPT {
            // The process was stopped meanwhile. The answer may be waiting in the socket, and may hold the only token that lives;
            // a body that had not left stays here.
            deadline = Instant::now() + AFTER_SLEEP;
            response = timeout_at(deadline, &mut call).await;
        }
        let response = match response {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(blame(&error, &departure)),
            Err(_) if departure.is_held_back() => return Err(WireError::Unsent),
            Err(_) => return Err(WireError::Deadline),
        };
        Ok(self.read(response, deadline).await)
    }

    async fn read(&self, mut response: reqwest::Response, deadline: Instant) -> Answer {
        let cap = self.settings.answer_cap;
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: header(response.headers(), &RETRY_AFTER)
                .and_then(|value| retry_after::parse(value, self.clock.now())),
            max_age: header(response.headers(), &CACHE_CONTROL).and_then(max_age),
            // Room for all of it at once: growing would leave copies of tokens behind.
            body: Zeroizing::new(Vec::with_capacity(cap)),
            whole: false,
        };
        while let Ok(Ok(chunk)) = timeout_at(deadline, response.chunk()).await {
            let Some(chunk) = chunk else {
                answer.whole = true;
                break;
            };
            let room = cap - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                break;
            }
        }
        answer
    }
}

/// What `oauth2` gets instead of an answer: the crate makes the request and we read what came, because it would refuse
/// (and print) answers that hold a live token beside some nonsense.
#[derive(Debug, thiserror::Error)]
#[error("the answer is read elsewhere")]
pub struct Taken(pub(super) Result<Answer, WireError>);

impl<'c> AsyncHttpClient<'c> for Wire {
    type Error = Taken;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Taken>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move { Err(Taken(self.send(request).await)) })
    }
}

fn blame(error: &reqwest::Error, departure: &Departure) -> WireError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return WireError::Forbidden(*refused);
        }
        cause = inner.source();
    }
    match departure.is_held_back() {
        _ if error.is_connect() || error.is_builder() => WireError::Connect,
        true => WireError::Unsent,
        false => WireError::Broken,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn max_age(value: &str) -> Option<Duration> {
    let mut parts = value.split(',');
    let seconds = parts.find_map(|part| part.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// How TLS is spoken to providers and mail servers: the system's roots and the extra ones, nothing weaker than TLS 1.2.
///
/// # Errors
/// [`WireSetupError::CaFile`] names the extra file.
pub fn tls(extra: Option<&Path>) -> Result<rustls::ClientConfig, WireSetupError> {
    let mut roots = rustls::RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (kept, _) = roots.add_parsable_certificates(system.certs);
    tracing::debug!(
        kept,
        failed = system.errors.len(),
        "read the system's certificate authorities"
    );
    if let Some(file) = extra {
        let fault = |why: String| WireSetupError::CaFile { file: file.display().to_string(), why };
        let pem = CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))?;
        let (more, _) = roots.add_parsable_certificates(pem.flatten());
        if more == 0 {
            return Err(fault("it holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| WireSetupError::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ca_file_is_named() {
        let settings = WireSettings {
            extra_ca_file: Some("/nowhere/ca.pem".into()),
            ..WireSettings::default()
        };
        let error = Wire::new(settings, Clock::system()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        assert_eq!(max_age("public, max-age=600, must-revalidate"), Some(Duration::from_secs(600)));
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=-1"), None);
    }
}
