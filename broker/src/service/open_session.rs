//! A mail login: check the proxy credential, find where to log in upstream, hand out what that needs, record, answer.
//!
//! Never tells an adapter why a login is refused, only the class; the reason is in the audit. Invariant: a wrong login, an
//! unknown credential and one that may not be used here get one answer, after a delay that does not depend on which it was.
//! Next: `access_token.rs` for the token, `grpc/mail.rs` for the words.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::caller::{Caller, OpenSessions};
use crate::domain::credential::Credential;
use crate::domain::event::{Event, What};
use crate::domain::guessing::LEAST_DELAY;
use crate::domain::ids::{Mailbox, ResourceId, SessionId};
use crate::domain::mail::{MailHost, MailProtocol, SaslMechanism};
use crate::domain::provider::InitialResponse;
use crate::domain::secret::Secret;
use crate::domain::session::MailSession;
use crate::memory::{Basis, Seen, Use};
use crate::providers::resolved::Resolved;
use crate::seal::credential::{KeyedHash, Kind, parse};
use crate::service::{Error, Service, refusal_grid};
use crate::store::Opening;
use crate::telemetry::metrics;

/// How exact the last use of a credential is known: a write for each login would cost more than it tells.
const LAST_USE: Duration = Duration::from_secs(60);

/// How fresh a token for a mail login is: the session lives no longer than it at some providers (Gmail, Exchange).
const SESSION_TTL: Duration = Duration::from_secs(10 * 60);

/// A login as an adapter reports it.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// Over which protocol.
    pub protocol: MailProtocol,
    /// The login name.
    pub login_name: String,
    /// The proxy credential.
    pub secret: Secret,
    /// The client.
    pub address: IpAddr,
}

/// A session or a refusal.
#[derive(Clone, Debug)]
pub enum SessionAnswer {
    /// Log in upstream with this.
    Opened(Box<Opened>),
    /// Refuse the client with this.
    Denied(Denial),
}

/// Everything an upstream login needs.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The session.
    pub session: SessionId,
    /// Where to log in.
    pub upstream: MailHost,
    /// Mechanisms, best first.
    pub mechanisms: Vec<SaslMechanism>,
    /// The user name there.
    pub sasl_user: String,
    /// The token.
    pub secret: Secret,
    /// When it ends.
    pub expires_at: Time,
    /// Whether an initial response may be sent.
    pub initial_response: bool,
    /// Whether an OK proves nothing there.
    pub probe_after_login: bool,
}

/// A refusal as an adapter may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose fault.
    pub kind: DenialKind,
    /// Answer no sooner.
    pub delay: Duration,
    /// For the client's user: printable ASCII, at most 200 bytes; may be empty.
    pub text: String,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// The login was wrong.
    BadCredential,
    /// The mailbox owner has to consent.
    NeedsConsent,
    /// An operator has to act.
    ContactAdmin,
    /// Try later.
    Unavailable,
    /// Too many logins or sessions.
    Limit,
}

impl DenialKind {
    /// As the figures have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadCredential => "bad_credential",
            Self::NeedsConsent => "needs_consent",
            Self::ContactAdmin => "contact_admin",
            Self::Unavailable => "unavailable",
            Self::Limit => "limit",
        }
    }
}

impl Service {
    /// Opens a session for a login, or says how to refuse it.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] if the caller is no adapter for this protocol; [`Error::Overtaken`] if rights changed
    /// meanwhile (then ask again, who calls too); [`Error::Unavailable`] if nothing can be recorded. A wrong login is an
    /// answer.
    pub async fn open_session(
        &self,
        caller: &Seen<Caller>,
        attempt: &LoginAttempt,
    ) -> Result<SessionAnswer, Error> {
        let work = Box::pin(self.answer_login(caller, attempt));
        refusal_grid::in_steps(work, is_wrong, || self.entrance.step_out()).await
    }

    async fn answer_login(
        &self,
        caller: &Seen<Caller>,
        attempt: &LoginAttempt,
    ) -> Result<SessionAnswer, Error> {
        let permit = caller.may_open_sessions()?;
        if !permit.allows(attempt.protocol) {
            return Err(Error::NotPermitted(crate::domain::caller::NotPermitted));
        }
        let (now, mut basis) = (self.parts.clock.now(), Basis::of(caller));
        let mut looked = false;
        let login = self.check_login(&permit, attempt, now, (&mut basis, &mut looked)).await?;
        let Some((credential, account)) = login else {
            let reason = Error::Unauthenticated.reason_number();
            let event = self.session_event(caller, attempt, "", reason);
            return Box::pin(self.refuse_login(caller, attempt, (event, basis), looked)).await;
        };
        let outcome = self.upstream(&account, attempt.protocol, None, &mut basis).await;
        let opened = match outcome {
            Ok(opened) => opened,
            Err(error) => {
                let denied = (&*account, error);
                return Box::pin(self.deny_login(caller, attempt, denied, basis)).await;
            }
        };
        let session = MailSession {
            id: opened.session,
            adapter: permit.caller(),
            credential: credential.id,
            account: account.id,
            protocol: attempt.protocol,
            client_address: attempt.address.to_string(),
            opened_at: now,
            ended_at: None,
            renewals: 0,
            upstream: String::new(),
            bytes_up: 0,
            bytes_down: 0,
        };
        let event = self.session_event(caller, attempt, account.name.as_str(), 0);
        let event = Event { subject: credential.key.clone(), ..event };
        // The token may have taken seconds to come: a revocation that was answered meanwhile counts.
        let opening = Some(Opening { session, limits: credential.limits });
        match self.decide(basis.clone(), event, opening).await {
            Err(Error::LoginLimited) => {
                let denied = (&*account, Error::LoginLimited);
                return Box::pin(self.deny_login(caller, attempt, denied, basis)).await;
            }
            decided => decided?,
        }
        if credential.is_to_be_noted(credential.last_used_at, now, LAST_USE) {
            self.memory.note(Use::Credential(credential.id, now, attempt.address.to_string()));
        }
        metrics::session(attempt.protocol.as_str(), "opened");
        Ok(SessionAnswer::Opened(Box::new(opened)))
    }

    /// The credential and its account, if everything about the login fits.
    async fn check_login(
        &self,
        permit: &OpenSessions,
        attempt: &LoginAttempt,
        now: Time,
        (basis, looked): (&mut Basis, &mut bool),
    ) -> Result<Option<(Seen<Credential>, Seen<Account>)>, Error> {
        let Ok(presented) = parse(attempt.secret.expose()) else { return Ok(None) };
        if presented.kind != Kind::Proxy {
            return Ok(None);
        }
        let Some(credential) = Box::pin(self.credential_of(presented.id.as_str(), looked)).await?
        else {
            self.parts.sealer.dummy_check(&presented);
            return Ok(None);
        };
        let stored = KeyedHash::from_bytes(&credential.secret_hash)?;
        basis.see(&credential);
        if !self.parts.sealer.matches(&presented, &stored)? {
            return Ok(None);
        }
        let account = self.memory.account(credential.account).await?;
        let account =
            account.ok_or_else(|| Error::NotFound("account of this credential".to_owned()))?;
        basis.see(&account);
        let admitted = credential.admits(attempt.protocol, attempt.address, now).is_ok();
        let named = account.project == *permit.project() && goes_by(&account, &attempt.login_name);
        Ok((admitted && named).then_some((credential, account)))
    }

    /// Where and with what to log in for `account`. What it looks at goes into `basis`.
    pub(super) async fn upstream(
        &self,
        account: &Seen<Account>,
        protocol: MailProtocol,
        rejected: Option<[u8; 32]>,
        basis: &mut Basis,
    ) -> Result<Opened, Error> {
        self.check_standing(account)?;
        let app = self.known_app(account.app).await?;
        basis.see(&app);
        let provider = self.known_provider(&app, account)?;
        let no_host = || Error::AppRejected { app: app.app.name.to_string() };
        let server = provider.mail.get(&protocol).ok_or_else(no_host)?;
        let audience = Self::audience_of(&provider, protocol).ok_or_else(no_host)?;
        let permit = account.for_mail(audience);
        let ttl = self.session_ttl(&provider);
        let granted = self.token(permit, account, (ttl, rejected), basis).await?;
        Ok(Opened {
            session: SessionId::new(self.parts.clock.now(), &self.parts.entropy),
            upstream: server.host.clone(),
            mechanisms: server.sasl.clone(),
            sasl_user: account.sasl_user().to_owned(),
            secret: granted.secret,
            expires_at: granted.token.expires_at,
            initial_response: server.initial_response == InitialResponse::IfAdvertised,
            probe_after_login: server.probe_after_login,
        })
    }

    /// Ten minutes, unless the provider's tokens are short-lived: then whatever `token` thinks right.
    fn session_ttl(&self, provider: &Resolved) -> Option<Duration> {
        let life = Duration::from_secs(provider.access_token.lifetime_s.into());
        (life >= SESSION_TTL * 2).then_some(SESSION_TTL)
    }

    /// Refuses a login, by rights as they are now: what is remembered lets in and is judged again with the decision, and it
    /// keeps nobody out either.
    async fn refuse_login(
        &self,
        caller: &Caller,
        attempt: &LoginAttempt,
        (event, basis): (Event, Basis),
        looked: bool,
    ) -> Result<SessionAnswer, Error> {
        if !looked {
            self.look_before_refusing().await?;
        }
        if !self.memory.holds(&basis) {
            return Err(Error::Overtaken);
        }
        let delay = self.login_refused(caller, attempt, (event, basis)).await?;
        let kind = DenialKind::BadCredential;
        metrics::session(attempt.protocol.as_str(), kind.as_str());
        Ok(SessionAnswer::Denied(Denial { kind, delay, text: String::new() }))
    }

    async fn deny_login(
        &self,
        caller: &Caller,
        attempt: &LoginAttempt,
        (account, error): (&Account, Error),
        basis: Basis,
    ) -> Result<SessionAnswer, Error> {
        let event =
            self.session_event(caller, attempt, account.name.as_str(), error.reason_number());
        if matches!(error, Error::AccountDisabled(_)) {
            // As any wrong login, so that nobody learns that the password was right.
            return self.refuse_login(caller, attempt, (event, basis), false).await;
        }
        self.decide(basis, event, None).await?;
        let denial = denial_of(error)?;
        metrics::session(attempt.protocol.as_str(), denial.kind.as_str());
        Ok(SessionAnswer::Denied(denial))
    }

    fn session_event(
        &self,
        caller: &Caller,
        attempt: &LoginAttempt,
        account: &str,
        reason: i32,
    ) -> Event {
        Event {
            at: self.parts.clock.now(),
            what: What::Session,
            project: caller.project.to_string(),
            actor: caller.resource_name(),
            account: account.to_owned(),
            subject: String::new(),
            granted: reason == 0,
            reason,
            address: attempt.address.to_string(),
            detail: attempt.protocol.as_str().to_owned(),
        }
    }
}

/// What an adapter is told about an error. Ours and the store's stay errors: then the broker is away, not the login wrong.
pub(super) fn denial_of(error: Error) -> Result<Denial, Error> {
    let (kind, text) = match error {
        Error::NeedsConsent { link } | Error::NeedsInteraction { link } => {
            (DenialKind::NeedsConsent, format!("Consent needed: open {link}"))
        }
        Error::BlockedByPolicy => (DenialKind::ContactAdmin, "Blocked by a policy".to_owned()),
        Error::AccountDisabled(_) => (DenialKind::BadCredential, String::new()),
        Error::AppRejected { .. } | Error::AppDisabled { .. } => {
            (DenialKind::ContactAdmin, "The mail gateway's registration is refused".to_owned())
        }
        Error::ProviderUnavailable { .. }
        | Error::ProviderThrottled { .. }
        | Error::RefreshInProgress
        | Error::MinTtlUnattainable { .. } => {
            (DenialKind::Unavailable, "The provider is temporarily unavailable".to_owned())
        }
        Error::LoginLimited => {
            (DenialKind::Limit, "Too many sessions or logins with this password".to_owned())
        }
        other => return Err(other),
    };
    let text = if text.len() <= 200 && text.is_ascii() { text } else { String::new() };
    let delay = if kind == DenialKind::BadCredential { LEAST_DELAY } else { Duration::ZERO };
    Ok(Denial { kind, delay, text })
}

/// Whether a login name is one of the account's: its mailbox or its id.
fn goes_by(account: &Account, login_name: &str) -> bool {
    Mailbox::parse(login_name).is_ok_and(|mailbox| mailbox == account.mailbox)
        || ResourceId::parse(login_name).is_ok_and(|id| id == account.name)
}

/// Whether the answer is the one that all wrong logins get.
fn is_wrong(answer: &Result<SessionAnswer, Error>) -> bool {
    matches!(answer, Ok(SessionAnswer::Denied(it)) if it.kind == DenialKind::BadCredential)
}
