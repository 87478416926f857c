//! One login: ask the broker, log in upstream, renew a refused token once, and find the right blame.
//!
//! Never says "wrong password" on its own: only the broker can (promise P8). A broker that is away, a server that is busy and a
//! token that is refused even when fresh are all somebody else's fault. Invariant: one forced renewal per login, and no denial
//! is answered before its delay is over. Next: the verdict goes to the client's dialogue, the connection to the relay.

use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use token_broker_client::v1::{ClientTls, MailProtocol, OpenSessionRequest, UpstreamLogin};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::broker::{Broker, BrokerError};
use crate::dialogue::{Blame, Login, Protocol, Ready, Verdict};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::offers::Offers;
use crate::report::{LiveSession, Reporter};
use crate::session::{Answer, Denial, Session};
use crate::stream::Stream;
use crate::tasks::Tasks;
use crate::upstream::{Dialler, NoLogin};
use crate::watch::{Register, Watched};

/// Whoever wants to log in.
#[derive(Clone, Debug)]
pub struct Client {
    /// After PROXY protocol where that is trusted.
    pub address: SocketAddr,
    /// The TLS version; `None` without TLS.
    pub tls_version: Option<String>,
}

/// A session whose upstream login worked.
#[derive(Debug)]
pub struct LoggedIn {
    /// The connection to the provider.
    pub stream: Stream,
    /// Noted as ended when dropped.
    pub session: LiveSession,
    /// Hears if it has to end.
    pub watched: Watched,
}

/// Where logins are decided.
pub struct Desk<P> {
    /// The protocol that is spoken.
    pub protocol: P,
    /// What servers offered lately.
    pub offers: Offers,
    parts: Parts,
}

/// What a [`Desk`] works with.
#[derive(Clone)]
pub struct Parts {
    /// Who decides.
    pub broker: Broker,
    /// The way to the providers.
    pub dialler: Dialler,
    /// Who hears of sessions.
    pub reporter: Reporter,
    /// Who hears what has to end.
    pub register: Register,
    /// Counts.
    pub metrics: Metrics,
    /// Tells to stop.
    pub tasks: Tasks,
    /// Bounds.
    pub limits: Limits,
}

impl<P: Protocol> Desk<P> {
    /// A desk for this protocol.
    pub fn new(protocol: P, parts: Parts) -> Self {
        Self { protocol, offers: Offers::default(), parts }
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    /// Resolves when the adapter stops.
    pub async fn stopping(&self) {
        self.parts.tasks.stopping().await;
    }

    /// Decides one login; the connection comes along if it is accepted.
    pub async fn log_in(&self, login: Login, client: &Client) -> (Verdict, Option<LoggedIn>) {
        let begun = Instant::now();
        let (verdict, logged_in) = match Box::pin(self.attempt(login, client)).await {
            Ok((ready, logged_in)) => (Verdict::Accepted(ready), Some(logged_in)),
            Err(denial) => {
                info!(client = %client.address.ip(), blame = ?denial.blame, "login refused");
                // From the login's arrival on: how long the broker took to find out tells nothing.
                tokio::select! {
                    () = sleep_until(begun + denial.delay) => {}
                    () = self.stopping() => {}
                }
                (Verdict::Denied { blame: denial.blame, text: denial.text }, None)
            }
        };
        self.parts.metrics.answered(&verdict, begun.elapsed().as_secs_f64());
        (verdict, logged_in)
    }

    async fn attempt(&self, login: Login, client: &Client) -> Result<(Ready, LoggedIn), Denial> {
        let mut session = self.open(login, client).await?;
        let watched = self.parts.register.enter(&session.id);
        let until = Instant::now() + self.parts.limits.upstream_login;
        let mut renewed = false;
        loop {
            let tried = self.parts.dialler.log_in(&self.protocol, &session, until).await;
            match tried {
                Ok((ready, stream)) => {
                    info!(session = session.id, client = %client.address.ip(), "logged in");
                    self.offers.learn(&session.host, &ready.capabilities);
                    let session = self.parts.reporter.began(&session.id);
                    return Ok((ready, LoggedIn { stream, session, watched }));
                }
                Err(NoLogin::Token(said)) if !renewed => {
                    info!(session = session.id, said, "the token is refused; renewing it");
                    session = self.renew(session).await?;
                    renewed = true;
                }
                Err(why) => return Err(self.give_up(&session, &why)),
            }
        }
    }

    async fn open(&self, login: Login, client: &Client) -> Result<Session, Denial> {
        if self.parts.register.is_closed() {
            // A session that nobody could take back is not begun.
            warn!(client = %client.address.ip(), "no login while no broker is heard of");
            let (blame, delay) = (Blame::Unavailable, Duration::ZERO);
            return Err(Denial { blame, delay, text: String::new() });
        }
        let request = OpenSessionRequest {
            protocol: mail_protocol::<P>().into(),
            login_name: login.name,
            secret: login.secret.to_string(),
            client_address: client.address.ip().to_canonical().to_string(),
            client_tls: Some(ClientTls {
                encrypted: client.tls_version.is_some(),
                version: client.tls_version.clone().unwrap_or_default(),
            }),
        };
        match self.parts.broker.open_session(request).await {
            Ok(Answer::Session(session)) => Ok(session),
            Ok(Answer::Denied(denial)) => Err(denial),
            Err(error) => Err(fault_of_broker(&error)),
        }
    }

    async fn renew(&self, refused: Session) -> Result<Session, Denial> {
        let hash = Sha256::digest(refused.secret.expose().as_bytes()).into();
        let denial = match self.parts.broker.renew_session(&refused.id, hash).await {
            Ok(Answer::Session(mut session)) => {
                session.id = refused.id;
                return Ok(session);
            }
            Ok(Answer::Denied(denial)) => denial,
            Err(error) => fault_of_broker(&error),
        };
        self.parts.reporter.failed(&refused.id, UpstreamLogin::Unspecified);
        Err(denial)
    }

    /// The upstream login is over and did not work.
    fn give_up(&self, session: &Session, why: &NoLogin) -> Denial {
        let (blame, login) = match why {
            // A fresh token too, seconds after the provider gave it: the mailbox side forbids this protocol (switched off for
            // the user or the tenant), or our app lacks the scope. The client's user typed nothing wrong and cannot mend it,
            // and trying later does not either: it is the administrator's (promise P8; the contract's CONTACT_ADMIN).
            NoLogin::Token(_) => (Blame::ContactAdmin, UpstreamLogin::Refused),
            NoLogin::Server(_) => (Blame::Unavailable, UpstreamLogin::Unreachable),
            NoLogin::Limit(_) => (Blame::Limit, UpstreamLogin::Unreachable),
        };
        warn!(session = session.id, host = session.host, %why, "no login upstream");
        self.parts.reporter.failed(&session.id, login);
        Denial { blame, delay: Duration::ZERO, text: String::new() }
    }
}

fn fault_of_broker(error: &BrokerError) -> Denial {
    error!(%error, "no answer from the broker");
    Denial { blame: error.blame(), delay: Duration::ZERO, text: String::new() }
}

fn mail_protocol<P: Protocol>() -> MailProtocol {
    match P::NAME {
        "imap" => MailProtocol::Imap,
        "smtp" => MailProtocol::Smtp,
        "pop3" => MailProtocol::Pop3,
        _ => MailProtocol::Unspecified,
    }
}
