//! The adapter plane: shows a mail client's login to the broker and learns where and with what to log in upstream.
//!
//! Never repeats a login: each answer is one in the broker's audit. Only a call of which nothing was sent goes to the
//! next endpoint. Invariant: a wrong credential is a [`Verdict`], an [`Error`] is about the broker or us. Next:
//! `retry::once`.
//!
//! Wiped when no longer needed: the credential in the message handed in, the secret in the answer. Beyond our reach: the
//! copy of the message that tonic encodes and drops, the bytes it makes of it, and those that HTTP/2 and TLS hold while
//! they are on their way. They live as long as the call and are then given back to the allocator as they are.

use std::time::{Duration, SystemTime};

use tokenbroker_proto::v1::mail_login_service_client::MailLoginServiceClient;
use tokenbroker_proto::v1::{
    self, Denial, MailHost, OpenSessionRequest, RenewSessionRequest, ReportSessionsRequest,
    SaslMechanism, SessionReport, WatchRevocationsRequest, open_session_response,
    renew_session_response,
};

use zeroize::Zeroize;

use crate::errors::Error;
use crate::key::Secret;
use crate::options::Options;
use crate::retry::{once, request};
use crate::revocations::Revocations;
use crate::transport::Connection;

/// How many reports one call carries at most; the contract's limit.
pub const MAX_REPORTS: usize = 500;

/// A watch is longer than any broker's; whoever stands between shall not cut it at the deadline of its beginning.
const WATCH: Duration = Duration::from_secs(60 * 60);

/// Mail logins. Clones share the connection.
#[derive(Clone, Debug)]
pub struct MailLogin {
    connection: Connection,
}

/// What the broker says to a login.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Log in upstream with this.
    Session(MailSession),
    /// Refuse the client with this.
    Denied(Denial),
}

/// Everything an upstream login needs.
#[derive(Clone, Debug)]
pub struct MailSession {
    /// Names the session in later calls. Opaque, at most 64 bytes.
    pub session: String,
    /// Where to log in.
    pub upstream: MailHost,
    /// Which mechanism; `Unspecified` to choose among `mechanisms` from what the server offers.
    pub mechanism: SaslMechanism,
    /// The mechanisms the provider is known to take, best first.
    pub mechanisms: Vec<SaslMechanism>,
    /// The user name towards the provider.
    pub sasl_user: String,
    /// The access token or app password. Forget it once logged in.
    pub secret: Secret,
    /// When the secret ends. `None`: never.
    pub expire_time: Option<SystemTime>,
    /// False if this provider must not be sent an initial response.
    pub initial_response: bool,
    /// True if OK after login has to be proved by one NOOP.
    pub probe_after_login: bool,
}

impl MailLogin {
    /// Checks `options`. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong and what to do.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        Ok(Self::over(Connection::open(&options).await?))
    }

    /// Over a connection that is there.
    pub fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Checks a login and opens a session, within `deadline`. Made once. The login's secret is wiped when this ends,
    /// however it ends.
    ///
    /// # Errors
    /// Whatever is wrong with the broker, the way there, or this adapter; never the client's login.
    pub async fn open_session(
        &self,
        login: OpenSessionRequest,
        deadline: Duration,
    ) -> Result<Verdict, Error> {
        let login = Wiped(login);
        let answer = once(&self.connection, deadline, &|door| {
            let ask = request(&login.0);
            Box::pin(async move { MailLoginServiceClient::new(door).open_session(ask).await })
        })
        .await?;
        match answer.outcome {
            Some(open_session_response::Outcome::Session(session)) => session.try_into(),
            Some(open_session_response::Outcome::Denial(denial)) => Ok(Verdict::Denied(denial)),
            None => Err(no_outcome()),
        }
    }

    /// The upstream refused the secret whose SHA-256 is `rejected`: another one, or a denial. Made once.
    ///
    /// # Errors
    /// As [`open_session`](Self::open_session).
    pub async fn renew_session(
        &self,
        session: impl Into<String>,
        rejected: [u8; 32],
        deadline: Duration,
    ) -> Result<Verdict, Error> {
        let ask =
            RenewSessionRequest { session: session.into(), rejected_secret_hash: rejected.into() };
        let answer = once(&self.connection, deadline, &|door| {
            let ask = request(&ask);
            Box::pin(async move { MailLoginServiceClient::new(door).renew_session(ask).await })
        })
        .await?;
        match answer.outcome {
            Some(renew_session_response::Outcome::Session(session)) => session.try_into(),
            Some(renew_session_response::Outcome::Denial(denial)) => Ok(Verdict::Denied(denial)),
            None => Err(no_outcome()),
        }
    }

    /// Tells of sessions' use and ends, at most [`MAX_REPORTS`] at once. Made once: counts are differences. After an
    /// [`Error::Unreachable`] nothing was told and the reports may be sent again.
    ///
    /// # Errors
    /// Whatever is wrong with the broker or the way there.
    pub async fn report_sessions(&self, reports: Vec<SessionReport>) -> Result<(), Error> {
        let ask = ReportSessionsRequest { reports };
        once(&self.connection, self.connection.deadline(), &|door| {
            let ask = request(&ask);
            Box::pin(async move { MailLoginServiceClient::new(door).report_sessions(ask).await })
        })
        .await
        .map(|_| ())
    }

    /// Watches which sessions have to end, from `cursor` on: empty, or the last one a checkpoint named. `patience` bounds the
    /// time until the broker begins and between two messages; brokers send one every second.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] or [`Error::Unauthenticated`] if this adapter may not any more; whatever is wrong with the
    /// broker or the way there.
    pub async fn watch_revocations(
        &self,
        cursor: &str,
        patience: Duration,
    ) -> Result<Revocations, Error> {
        let ask = WatchRevocationsRequest { cursor: cursor.to_owned() };
        let at = self.connection.first();
        let stream = once(&self.connection, patience, &|door| {
            let mut ask = request(&ask);
            ask.set_timeout(WATCH);
            Box::pin(async move { MailLoginServiceClient::new(door).watch_revocations(ask).await })
        })
        .await?;
        Ok(Revocations { stream, connection: self.connection.clone(), at, patience })
    }
}

impl TryFrom<v1::MailSession> for Verdict {
    type Error = Error;

    fn try_from(wire: v1::MailSession) -> Result<Self, Error> {
        let mechanism = wire.mechanism();
        let mechanisms = wire.mechanisms().collect();
        let Some(upstream) = wire.upstream else { return Err(no_outcome()) };
        Ok(Self::Session(MailSession {
            session: wire.session,
            upstream,
            mechanism,
            mechanisms,
            sasl_user: wire.sasl_user,
            secret: Secret::new(wire.secret),
            expire_time: wire.expire_time.and_then(|at| at.try_into().ok()),
            initial_response: wire.initial_response,
            probe_after_login: wire.probe_after_login,
        }))
    }
}

/// A login whose secret does not stay in memory.
struct Wiped(OpenSessionRequest);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.secret.zeroize();
    }
}

fn no_outcome() -> Error {
    Error::Unexpected { code: "Ok".into(), message: "neither a session nor a denial".into() }
}
