//! A broker that answers as it is told and remembers what it was asked.
//!
//! Never checks more than one login and one key. Invariant: what it was asked stands in [`Memory`] before it answers.
//! Next: `stage` puts an adapter in front of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokenbroker_proto::v1::mail_login_service_server::{MailLoginService, MailLoginServiceServer};
use tokenbroker_proto::v1::{
    Checkpoint, Denial, DenialClass, MailHost, MailProtocol, MailSession, OpenSessionRequest,
    OpenSessionResponse, RenewSessionRequest, RenewSessionResponse, ReportSessionsRequest,
    ReportSessionsResponse, SaslMechanism, SessionEnd, SessionEndReason, SessionReport, TlsMode,
    WatchRevocationsRequest, WatchRevocationsResponse, open_session_response,
    renew_session_response,
};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// The API key it takes.
pub const KEY: &str = "tbk_test";
/// The login name it knows.
pub const NAME: &str = "ann@example.com";
/// The credential that goes with [`NAME`].
pub const CREDENTIAL: &str = "tb_good";
/// The user name it gives for the mail server.
pub const USER: &str = "ann@provider.example";

/// What it knows and what it was asked.
pub struct Memory {
    /// The mail server.
    pub upstream: MailHost,
    /// The tokens it gives, one after the other; the last one again and again.
    pub tokens: Vec<&'static str>,
    /// What it says to any other login.
    pub denial: Denial,
    /// Whether it takes calls and never answers.
    pub hangs: bool,
    /// The logins it was shown.
    pub opened: Vec<OpenSessionRequest>,
    /// The tokens it was told are refused.
    pub renewed: Vec<RenewSessionRequest>,
    /// What it was told of sessions.
    pub reports: Vec<SessionReport>,
    /// The cursors it was asked to watch from.
    pub watched: Vec<String>,
    /// How many checkpoints it sends a watch; then it falls silent.
    pub checkpoints: usize,
    /// Whether it breaks off whoever watches.
    pub deaf: bool,
    /// Whether it is from before there was a watch.
    pub old: bool,
    /// Whether it knows the adapter no more.
    pub revoked: bool,
    /// What it tells those who watch.
    pub ends: broadcast::Sender<WatchRevocationsResponse>,
}

/// The broker. Clones share its memory.
#[derive(Clone)]
pub struct Broker(Arc<Mutex<Memory>>);

impl Broker {
    /// Sends everybody to the mail server at `server`, in clear.
    pub fn new(protocol: MailProtocol, server: SocketAddr) -> Self {
        let upstream = MailHost {
            protocol: protocol.into(),
            host: "localhost".to_owned(),
            port: server.port().into(),
            tls: TlsMode::PlainLoopback.into(),
        };
        Self(Arc::new(Mutex::new(Memory {
            upstream,
            tokens: vec!["tok-1"],
            denial: denial(DenialClass::BadCredential),
            hangs: false,
            opened: vec![],
            renewed: vec![],
            reports: vec![],
            watched: vec![],
            checkpoints: usize::MAX,
            deaf: false,
            old: false,
            revoked: false,
            ends: broadcast::channel(64).0,
        })))
    }

    /// To look into, or to change.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }

    /// Tells whoever watches that its session has to end; the cursor after it is `c-end`.
    pub fn end(&self, reason: SessionEndReason) {
        let end = SessionEnd { session: "s-1".to_owned(), reason: reason.into() };
        let told = WatchRevocationsResponse { ends: vec![end], checkpoint: checkpoint("c-end") };
        self.memory().ends.send(told).unwrap();
    }

    /// Answers on this socket until the runtime ends.
    pub fn serve(&self, listener: TcpListener) {
        let service = MailLoginServiceServer::new(self.clone());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
        );
    }

    /// The same in TLS, with this certificate and key in PEM.
    pub fn serve_tls(&self, listener: TcpListener, certificate: &str, key: &str) {
        let service = MailLoginServiceServer::new(self.clone());
        let identity = tonic::transport::Identity::from_pem(certificate, key);
        let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
        let mut server = tonic::transport::Server::builder().tls_config(tls).unwrap();
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    }

    fn session(&self, token: &str) -> MailSession {
        MailSession {
            session: "s-1".to_owned(),
            upstream: Some(self.memory().upstream.clone()),
            mechanism: SaslMechanism::Unspecified.into(),
            sasl_user: USER.to_owned(),
            secret: token.to_owned(),
            expire_time: None,
            mechanisms: vec![SaslMechanism::Xoauth2.into(), SaslMechanism::Oauthbearer.into()],
            initial_response: true,
            probe_after_login: false,
        }
    }

    async fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let (hangs, revoked) = {
            let memory = self.memory();
            (memory.hangs, memory.revoked)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        if revoked {
            return Err(Status::permission_denied("no such resource, or no right to it"));
        }
        let shown = request.metadata().get("authorization").and_then(|key| key.to_str().ok());
        match shown == Some(&format!("Bearer {KEY}")) {
            true => Ok(()),
            false => Err(Status::unauthenticated("no key")),
        }
    }
}

fn checkpoint(cursor: &str) -> Option<Checkpoint> {
    Some(Checkpoint { cursor: cursor.to_owned(), time: None })
}

/// A denial of this class, without a delay.
pub fn denial(class: DenialClass) -> Denial {
    Denial { class: class.into(), ..Default::default() }
}

#[tonic::async_trait]
impl MailLoginService for Broker {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        self.admit(&request).await?;
        let request = request.into_inner();
        let known = request.login_name == NAME && request.secret == CREDENTIAL;
        self.memory().opened.push(request);
        let outcome = if known {
            let token = self.memory().tokens[0];
            open_session_response::Outcome::Session(self.session(token))
        } else {
            open_session_response::Outcome::Denial(self.memory().denial.clone())
        };
        Ok(Response::new(OpenSessionResponse { outcome: Some(outcome) }))
    }

    async fn renew_session(
        &self,
        request: Request<RenewSessionRequest>,
    ) -> Result<Response<RenewSessionResponse>, Status> {
        self.admit(&request).await?;
        self.memory().renewed.push(request.into_inner());
        let next = self.memory().tokens.get(1).copied();
        let outcome = match next {
            Some(token) => renew_session_response::Outcome::Session(self.session(token)),
            None => renew_session_response::Outcome::Denial(denial(DenialClass::NeedsConsent)),
        };
        Ok(Response::new(RenewSessionResponse { outcome: Some(outcome) }))
    }

    async fn report_sessions(
        &self,
        request: Request<ReportSessionsRequest>,
    ) -> Result<Response<ReportSessionsResponse>, Status> {
        self.admit(&request).await?;
        self.memory().reports.extend(request.into_inner().reports);
        Ok(Response::new(ReportSessionsResponse {}))
    }

    type WatchRevocationsStream =
        Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(
        &self,
        request: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        self.admit(&request).await?;
        let (ends, most) = {
            let mut memory = self.memory();
            memory.watched.push(request.into_inner().cursor);
            if memory.old {
                return Err(Status::unimplemented("no such call"));
            }
            if memory.deaf {
                return Err(Status::unavailable("not now"));
            }
            (memory.ends.subscribe(), memory.checkpoints)
        };
        let beat = tokio::time::interval(std::time::Duration::from_millis(100));
        let beats = tokio_stream::wrappers::IntervalStream::new(beat).take(most).map(|_| {
            Ok(WatchRevocationsResponse { ends: vec![], checkpoint: checkpoint("c-beat") })
        });
        let ends = tokio_stream::wrappers::BroadcastStream::new(ends)
            .map(|told| told.map_err(|_| Status::unavailable("too slow")));
        let broker = self.clone();
        let pulse = tokio::time::interval(std::time::Duration::from_millis(50));
        let pulse = tokio_stream::wrappers::IntervalStream::new(pulse).map(|_| None);
        let told = beats.merge(ends).map(Some).merge(pulse).filter_map(move |told| {
            let memory = broker.memory();
            match (memory.revoked, memory.deaf) {
                (true, _) => {
                    Some(Err(Status::permission_denied("no such resource, or no right to it")))
                }
                (_, true) => Some(Err(Status::unavailable("not now"))),
                _ => told,
            }
        });
        Ok(Response::new(Box::pin(told)))
    }
}
