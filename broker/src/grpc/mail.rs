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

use super::authenticate::asked;
use super::convert::{end_reason, proto_mail_host, proto_mechanism, protocol, timestamp};
use super::serve::Door;
use super::status;
use super::watch::Revocations;
use crate::domain::ids::SessionId;
use crate::domain::secret::Secret;
use crate::service::{
    Denial, DenialKind, Error, LoginAttempt, Opened, Report, SessionAnswer, TRIES, UpstreamLogin,
};

/// The most reports of one batch.
const BATCH: usize = 500;

#[tonic::async_trait]
impl MailLoginService for Door {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let (asked, mut attempt) = (asked(&request), None);
        for _ in 0..TRIES {
            let caller = self.deciding_caller(&request).await?;
            let permitted = caller.may_open_sessions().map_err(Error::from);
            self.on_record(&caller, asked, permitted).await?;
            let attempt = match &attempt {
                Some(attempt) => attempt,
                None => attempt.insert(status::or(unpack(request.get_ref()))?),
            };
            let outcome = match self.service.open_session(&caller, attempt).await {
                // Rights changed under it: from the beginning.
                Err(Error::Overtaken) => continue,
                answer => match self.on_record(&caller, asked, answer).await? {
                    SessionAnswer::Opened(opened) => {
                        open_session_response::Outcome::Session(pack(*opened))
                    }
                    SessionAnswer::Denied(denial) => {
                        open_session_response::Outcome::Denial(pack_denial(denial))
                    }
                },
            };
            return Ok(Response::new(OpenSessionResponse { outcome: Some(outcome) }));
        }
        Err(status::of(&Error::Overtaken))
    }

    async fn renew_session(
        &self,
        request: Request<RenewSessionRequest>,
    ) -> Result<Response<RenewSessionResponse>, Status> {
        let (caller, asked) = (self.caller(&request).await?, asked(&request));
        let permitted = caller.may_open_sessions().map_err(Error::from);
        self.on_record(&caller, asked, permitted).await?;
        let (session, hash) = status::or(unpack_renewal(request.get_ref()))?;
        let claim = self.service.claim_renewal(&caller, session).await;
        let claim = self.on_record(&caller, asked, claim).await?;
        for _ in 0..TRIES {
            let caller = self.deciding_caller(&request).await?;
            let outcome = match self.service.renew_session(&caller, &claim, hash).await {
                Err(Error::Overtaken) => continue,
                answer => match self.on_record(&caller, asked, answer).await? {
                    SessionAnswer::Opened(opened) => {
                        renew_session_response::Outcome::Session(pack(*opened))
                    }
                    SessionAnswer::Denied(denial) => {
                        renew_session_response::Outcome::Denial(pack_denial(denial))
                    }
                },
            };
            return Ok(Response::new(RenewSessionResponse { outcome: Some(outcome) }));
        }
        Err(status::of(&Error::Overtaken))
    }

    async fn report_sessions(
        &self,
        request: Request<ReportSessionsRequest>,
    ) -> Result<Response<ReportSessionsResponse>, Status> {
        let (caller, asked) = (self.caller(&request).await?, asked(&request));
        let reports = request.into_inner().reports;
        let reported = async {
            caller.may_open_sessions()?;
            if reports.len() > BATCH {
                return Err(Error::invalid("reports", "use at most 500"));
            }
            let reports = reports.iter().map(unpack_report).collect::<Result<Vec<_>, _>>()?;
            self.service.report_sessions(&caller, reports).await
        };
        self.on_record(&caller, asked, reported.await).await?;
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

fn unpack(request: &OpenSessionRequest) -> Result<LoginAttempt, Error> {
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
        login_name: request.login_name.clone(),
        secret: Secret::new(request.secret.clone()),
    })
}

fn unpack_renewal(request: &RenewSessionRequest) -> Result<(SessionId, [u8; 32]), Error> {
    let session = SessionId::parse(&request.session).ok_or(Error::SessionNotUsable)?;
    let hash = request.rejected_secret_hash.as_slice().try_into();
    let wrong = |_| Error::invalid("rejected_secret_hash", "use the 32 bytes of a SHA-256");
    Ok((session, hash.map_err(wrong)?))
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
        DenialKind::Limit => DenialClass::Limit,
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
