//! A mail server refused the token of a session: mark it and hand out another, once.
//!
//! Never renews for another adapter than the one that opened the session. Invariant: each session buys at most one forced
//! refresh, however often its adapter asks. Next: `open_session.rs` for what is handed out.

use std::time::Duration;

use crate::domain::caller::{Caller, OpenSessions};
use crate::domain::credential::CredentialState;
use crate::domain::event::{Event, What};
use crate::domain::ids::SessionId;
use crate::domain::session::MailSession;
use crate::service::open_session::{Opened, SessionAnswer, denial_of};
use crate::service::{Error, Service};

/// How long after its opening a session can be renewed: a login upstream takes seconds.
const RENEWABLE: Duration = Duration::from_secs(10 * 60);

/// How often a session may ask for another token.
const RENEWALS: i64 = 1;

impl Service {
    /// Hands out another token for a session whose token, by its SHA-256, was refused.
    ///
    /// # Errors
    /// [`Error::SessionNotUsable`] if it is not this adapter's, has ended or was renewed before.
    pub async fn renew_session(
        &self,
        caller: &Caller,
        id: SessionId,
        rejected: [u8; 32],
    ) -> Result<SessionAnswer, Error> {
        let permit = caller.may_open_sessions()?;
        let session = self.renewable(&permit, id).await?;
        // A session is renewed once: an adapter that leaves between the claim and the token must not use that up for nothing.
        let (service, caller) = (self.clone(), caller.clone());
        self.detached(async move { service.renew(&caller, session, rejected).await }).await
    }

    async fn renew(
        &self,
        caller: &Caller,
        session: MailSession,
        rejected: [u8; 32],
    ) -> Result<SessionAnswer, Error> {
        let (id, adapter) = (session.id, session.adapter);
        let claimed = self
            .write(move |tx| {
                Box::pin(async move { tx.renew_mail_session(id, adapter, RENEWALS).await })
            })
            .await?;
        if claimed.is_none() {
            return Err(Error::SessionNotUsable);
        }
        let account = self.account(session.account).await?;
        let outcome = self.upstream(&account, session.protocol, Some(rejected)).await;
        let reason = outcome.as_ref().err().map_or(0, Error::reason_number);
        self.record(self.renewal_event(caller, &session, account.name.as_str(), reason)).await?;
        match outcome {
            Ok(opened) => {
                Ok(SessionAnswer::Opened(Box::new(Opened { session: session.id, ..opened })))
            }
            Err(error) => denial_of(error).map(SessionAnswer::Denied),
        }
    }

    async fn renewable(&self, permit: &OpenSessions, id: SessionId) -> Result<MailSession, Error> {
        let now = self.parts.clock.now();
        let mut conn = self.read().await?;
        let session = conn.mail_session(id).await?.ok_or(Error::SessionNotUsable)?;
        let fits = session.adapter == permit.caller()
            && session.ended_at.is_none()
            && session.opened_at.after(RENEWABLE) > now;
        let row = conn.credential(session.credential).await?.ok_or(Error::SessionNotUsable)?;
        let credential = self.parts.sealer.admit(row)?;
        let state = credential.state(now);
        if !fits || matches!(state, CredentialState::Revoked | CredentialState::Expired) {
            return Err(Error::SessionNotUsable);
        }
        Ok(session)
    }

    fn renewal_event(
        &self,
        caller: &Caller,
        session: &MailSession,
        account: &str,
        reason: i32,
    ) -> Event {
        Event {
            at: self.parts.clock.now(),
            what: What::SessionRenewal,
            project: caller.project.to_string(),
            actor: caller.resource_name(),
            account: account.to_owned(),
            subject: session.id.to_string(),
            granted: reason == 0,
            reason,
            address: session.client_address.clone(),
            detail: session.protocol.as_str().to_owned(),
        }
    }
}
