//! The broker, asked through its SDK, and what its errors mean for a login.
//!
//! Never keeps a call waiting for a broker that is away, and never logs what it carries. Failover, deadlines, TLS and the rules
//! for keys and plain text are the SDK's. Invariant: an error here is about the broker or about us, a wrong credential is an
//! answer; this is the one place that says whose fault an error is. Next: `login` decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use token_broker_client::v1::{OpenSessionRequest, SessionReport};
use token_broker_client::{Error, Fault, MAX_REPORTS, MailLogin, Options, Revocations};

use crate::dialogue::Blame;
use crate::metrics::Metrics;
use crate::session::{Answer, Malformed};

/// Longest wait for an answer, all endpoints together.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for one endpoint's connection; short enough to try another within [`DEADLINE`].
const CONNECT: Duration = Duration::from_millis(1_500);
/// Longest silence of a watch: brokers say something every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Most reports in one call.
pub const BATCH: usize = MAX_REPORTS;

/// Why there is no answer. Whoever asked is not to blame.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No endpoint could be reached, none answered in time, or none can work now.
    #[error("the broker is away: {0}")]
    Away(Error),
    /// Our API key is not taken, or may not do this.
    #[error("the broker refuses this adapter's key: {0}")]
    Forbidden(Error),
    /// The broker works and will not do what was asked.
    #[error("the broker says no: {0}")]
    Refused(Error),
    /// The answer is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl BrokerError {
    /// Whose fault it is that a login cannot be decided: never the client's (promise P8).
    pub fn blame(&self) -> Blame {
        match self {
            Self::Forbidden(_) => Blame::ContactAdmin,
            Self::Away(_) | Self::Refused(_) | Self::Malformed(_) => Blame::Unavailable,
        }
    }

    /// Whether the broker does not know what it was asked: it is older than this adapter.
    pub fn is_unknown_call(&self) -> bool {
        matches!(self, Self::Refused(Error::Unexpected { code, .. }) if code == "Unimplemented")
    }

    /// Whether the broker may have done what it was asked although there is no answer.
    pub fn may_be_done(&self) -> bool {
        matches!(self, Self::Away(Error::Deadline | Error::Disconnected { .. }))
    }
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        match (&error, error.fault()) {
            (Error::Unauthenticated { .. } | Error::NotPermitted { .. }, _) => {
                Self::Forbidden(error)
            }
            (Error::Internal { .. }, _) | (_, Fault::Time) => Self::Away(error),
            _ => Self::Refused(error),
        }
    }
}

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    mail: MailLogin,
    there: AtomicBool,
    metrics: Metrics,
}

impl Broker {
    /// Prepares the connections; none is made before the first call. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`Error::Options`]: an endpoint, the key or the file of authorities cannot be used.
    pub async fn new(options: &Options, metrics: Metrics) -> Result<Self, Error> {
        let options = options.clone().deadline(DEADLINE).connect_timeout(CONNECT);
        let mail = MailLogin::connect(options).await?;
        Ok(Self(Arc::new(Inner { mail, there: AtomicBool::new(false), metrics })))
    }

    /// Shows a login.
    ///
    /// # Errors
    /// [`BrokerError`]; never for a wrong credential.
    pub async fn open_session(&self, login: OpenSessionRequest) -> Result<Answer, BrokerError> {
        let answer = self.0.mail.open_session(login, DEADLINE).await;
        Ok(self.heard(answer)?.try_into()?)
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
        let answer = self.0.mail.renew_session(session, rejected_hash, DEADLINE).await;
        Ok(self.heard(answer)?.try_into()?)
    }

    /// Tells of at most [`BATCH`] sessions; with none it asks whether anybody is there.
    ///
    /// # Errors
    /// [`BrokerError`]; the reports may be sent again unless it [`may_be_done`](BrokerError::may_be_done).
    pub async fn report_sessions(&self, reports: Vec<SessionReport>) -> Result<(), BrokerError> {
        let answer = self.0.mail.report_sessions(reports).await;
        self.heard(answer)
    }

    /// Watches which sessions have to end, from a cursor on. Says nothing about whether a login could succeed.
    ///
    /// # Errors
    /// [`BrokerError`]; [`BrokerError::Forbidden`] if this adapter may not any more.
    pub async fn watch_revocations(&self, cursor: &str) -> Result<Revocations, BrokerError> {
        Ok(self.0.mail.watch_revocations(cursor, SILENCE).await?)
    }

    /// Whether the last call found a broker that works and knows our key.
    pub fn is_there(&self) -> bool {
        self.0.there.load(Ordering::Relaxed)
    }

    fn heard<T>(&self, answer: Result<T, Error>) -> Result<T, BrokerError> {
        let answer = answer.map_err(BrokerError::from);
        let there = matches!(answer, Ok(_) | Err(BrokerError::Refused(_)));
        self.0.there.store(there, Ordering::Relaxed);
        self.0.metrics.broker(there);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blame(error: Error) -> Blame {
        BrokerError::from(error).blame()
    }

    #[test]
    fn a_broker_that_is_away_is_nobodys_wrong_password_and_a_wrong_key_is_the_operators() {
        let message = String::from("x");
        let unreachable =
            Error::Unreachable { endpoint: message.clone(), message: message.clone() };
        let internal = Error::Internal { message: message.clone(), incident: message.clone() };
        for error in [Error::Deadline, unreachable, internal] {
            assert_eq!(blame(error), Blame::Unavailable);
        }
        assert_eq!(blame(Error::Unauthenticated { message: message.clone() }), Blame::ContactAdmin);
        assert_eq!(blame(Error::NotPermitted { message }), Blame::ContactAdmin);
    }

    #[test]
    fn only_what_was_sent_and_not_answered_may_be_done() {
        let [endpoint, message] = [String::new(), String::new()];
        assert!(BrokerError::from(Error::Deadline).may_be_done());
        assert!(!BrokerError::from(Error::Unreachable { endpoint, message }).may_be_done());
    }
}
