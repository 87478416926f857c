//! What became of mail sessions, as their adapters tell it in batches.
//!
//! Never believes an adapter about another adapter's session: such a report is dropped. Invariant: one write a batch.

use crate::clock::Time;
use crate::domain::caller::Caller;
use crate::domain::ids::SessionId;
use crate::domain::session::EndReason;
use crate::service::{Error, Service};
use crate::store::SessionReport;

/// One session's use since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The session.
    pub session: SessionId,
    /// Bytes from client to provider.
    pub bytes_up: i64,
    /// Bytes from provider to client.
    pub bytes_down: i64,
    /// Whether it has ended.
    pub ended: bool,
    /// How the login at the provider went, if that is news.
    pub login: Option<UpstreamLogin>,
    /// Why it ended, if it has and the adapter says so.
    pub end_reason: Option<EndReason>,
}

/// How a login at the provider went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamLogin {
    /// It worked.
    Accepted,
    /// The provider refused a fresh token too.
    Refused,
    /// The provider was not reached or did not answer properly.
    Unreachable,
}

impl UpstreamLogin {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Service {
    /// Notes what became of sessions.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] if the caller is no adapter.
    pub async fn report_sessions(
        &self,
        caller: &Caller,
        reports: Vec<Report>,
    ) -> Result<(), Error> {
        let permit = caller.may_open_sessions()?;
        let now = self.parts.clock.now();
        self.write(move |tx| {
            Box::pin(async move {
                for report in &reports {
                    tx.report_mail_session(permit.caller(), &row(report, now)).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn row(report: &Report, now: Time) -> SessionReport {
    SessionReport {
        session: report.session,
        bytes_up: report.bytes_up,
        bytes_down: report.bytes_down,
        ended_at: report.ended.then_some(now),
        upstream: report.login.map_or("", UpstreamLogin::as_str).to_owned(),
        end_reason: report.end_reason.filter(|_| report.ended),
        heard_at: now,
    }
}
