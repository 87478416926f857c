//! The adapter plane's door: mail logins.
//!
//! Never tells an adapter why, only the class. Next: `service/open_session.rs`.

use tokenbroker_proto::v1::mail_login_service_server::MailLoginService;
use tokenbroker_proto::v1::{
    self, DenialClass, OpenSessionRequest, OpenSessionResponse, RenewSessionRequest,
    RenewSessionResponse, ReportSessionsRequest, ReportSessionsResponse, SessionReport,
    WatchRevocationsRequest, open_session_response, renew_session_response,
};
use tonic::{Request, Response, Status};

use super::convert::{end_reason, proto_mail_host, proto_mechanism, protocol, timestamp};
use super::serve::Door;
use super::status;
use super::watch::Revocations;
use crate::domain::ids::SessionId;
use crate::domain::secret::Secret;
use crate::service::{
    Denial, DenialKind, Error, LoginAttempt, Opened, Report, SessionAnswer, UpstreamLogin,
};

/// The most reports of one batch.
const BATCH: usize = 500;

#[tonic::async_trait]
impl MailLoginService for Door {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let caller = self.caller(&request).await?;
        let opened = async {
            let attempt = unpack(request.into_inner())?;
            self.service.open_session(&caller, attempt).await
        };
        let answer = opened.await.map_err(|error| status::of(&error))?;
        let outcome = match answer {
            SessionAnswer::Opened(opened) => open_session_response::Outcome::Session(pack(*opened)),
            SessionAnswer::Denied(denial) => {
                open_session_response::Outcome::Denial(pack_denial(denial))
            }
        };
        Ok(Response::new(OpenSessionResponse { outcome: Some(outcome) }))
    }

    async fn renew_session(
        &self,
        request: Request<RenewSessionRequest>,
    ) -> Result<Response<RenewSessionResponse>, Status> {
        let caller = self.caller(&request).await?;
        let RenewSessionRequest { session, rejected_secret_hash } = request.into_inner();
        let renewed = async {
            let session = SessionId::parse(&session).ok_or(Error::SessionNotUsable)?;
            let hash: [u8; 32] = rejected_secret_hash.as_slice().try_into().map_err(|_| {
                Error::invalid("rejected_secret_hash", "use the 32 bytes of a SHA-256")
            })?;
            self.service.renew_session(&caller, session, hash).await
        };
        let answer = renewed.await.map_err(|error| status::of(&error))?;
        let outcome = match answer {
            SessionAnswer::Opened(opened) => {
                renew_session_response::Outcome::Session(pack(*opened))
            }
            SessionAnswer::Denied(denial) => {
                renew_session_response::Outcome::Denial(pack_denial(denial))
            }
        };
        Ok(Response::new(RenewSessionResponse { outcome: Some(outcome) }))
    }

    async fn report_sessions(
        &self,
        request: Request<ReportSessionsRequest>,
    ) -> Result<Response<ReportSessionsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let reports = request.into_inner().reports;
        let reported = async {
            if reports.len() > BATCH {
                return Err(Error::invalid("reports", "use at most 500"));
            }
            let reports = reports.iter().map(unpack_report).collect::<Result<Vec<_>, _>>()?;
            self.service.report_sessions(&caller, reports).await
        };
        reported.await.map_err(|error| status::of(&error))?;
        Ok(Response::new(ReportSessionsResponse {}))
    }

    type WatchRevocationsStream = Revocations;

    async fn watch_revocations(
        &self,
        request: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Revocations>, Status> {
        self.watch(request).await.map(Response::new)
    }
}

fn unpack(request: OpenSessionRequest) -> Result<LoginAttempt, Error> {
    if request.login_name.len() > 320 {
        return Err(Error::invalid("login_name", "use at most 320 bytes"));
    }
    if request.secret.len() > 256 {
        return Err(Error::invalid("secret", "use at most 256 bytes"));
    }
    let address = request.client_address.parse();
    Ok(LoginAttempt {
        protocol: protocol("protocol", request.protocol)?,
        address: address.map_err(|_| Error::invalid("client_address", "use an IP address"))?,
        login_name: request.login_name,
        secret: Secret::new(request.secret),
    })
}

fn pack(opened: Opened) -> v1::MailSession {
    let mechanisms: Vec<i32> =
        opened.mechanisms.iter().map(|one| proto_mechanism(*one).into()).collect();
    v1::MailSession {
        session: opened.session.to_string(),
        upstream: Some(proto_mail_host(&opened.upstream)),
        mechanism: v1::SaslMechanism::Unspecified.into(),
        sasl_user: opened.sasl_user,
        secret: opened.secret.expose().to_owned(),
        expire_time: Some(timestamp(opened.expires_at)),
        mechanisms,
        initial_response: opened.initial_response,
        probe_after_login: opened.probe_after_login,
    }
}

fn pack_denial(denial: Denial) -> v1::Denial {
    let class = match denial.kind {
        DenialKind::BadCredential => DenialClass::BadCredential,
        DenialKind::NeedsConsent => DenialClass::NeedsConsent,
        DenialKind::ContactAdmin => DenialClass::ContactAdmin,
        DenialKind::Unavailable => DenialClass::Unavailable,
    };
    v1::Denial { class: class.into(), delay: denial.delay.try_into().ok(), text: denial.text }
}

fn unpack_report(report: &SessionReport) -> Result<Report, Error> {
    let unknown = || Error::invalid("reports.session", "use a session this broker opened");
    let count = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok(Report {
        session: SessionId::parse(&report.session).ok_or_else(unknown)?,
        bytes_up: count(report.bytes_up),
        bytes_down: count(report.bytes_down),
        ended: report.ended,
        login: match report.login() {
            v1::UpstreamLogin::Unspecified => None,
            v1::UpstreamLogin::Accepted => Some(UpstreamLogin::Accepted),
            v1::UpstreamLogin::Refused => Some(UpstreamLogin::Refused),
            v1::UpstreamLogin::Unreachable => Some(UpstreamLogin::Unreachable),
        },
        end_reason: end_reason(report.end_reason()),
    })
}
