//! A mail server refused the token of a session: mark it and hand out another, once.
//!
//! Never renews for another adapter than the one that opened the session. Invariant: each session buys at most one forced
//! refresh, however often its adapter asks. Next: `open_session.rs` for what is handed out.

use std::time::Duration;

use crate::domain::account::Account;
use crate::domain::caller::{Caller, OpenSessions};
use crate::domain::credential::CredentialState;
use crate::domain::event::{Event, What};
use crate::domain::ids::SessionId;
use crate::domain::session::MailSession;
use crate::memory::{Basis, Seen};
use crate::service::open_session::{Opened, SessionAnswer, denial_of};
use crate::service::{Error, Service};
use crate::store::Changed;

/// How long after its opening a session can be renewed: a login upstream takes seconds.
const RENEWABLE: Duration = Duration::from_secs(10 * 60);

/// How often a session may ask for another token.
const RENEWALS: i64 = 1;

/// A session whose one renewal was claimed: proof that [`Service::renew_session`] may force a refresh.
#[derive(Debug)]
pub struct Renewal(MailSession);

impl Service {
    /// Claims the one renewal of a session.
    ///
    /// # Errors
    /// [`Error::SessionNotUsable`] if it is not this adapter's, over a protocol that was taken from it, has ended or is to end,
    /// or was renewed before.
    pub async fn claim_renewal(&self, caller: &Caller, id: SessionId) -> Result<Renewal, Error> {
        let permit = caller.may_open_sessions()?;
        self.renewable(&permit, id, &mut Basis::default()).await?;
        let adapter = permit.caller();
        let claimed = self
            .write(move |tx| {
                Box::pin(async move { tx.renew_mail_session(id, adapter, RENEWALS).await })
            })
            .await?;
        claimed.map(Renewal).ok_or(Error::SessionNotUsable)
    }

    /// Hands out another token for a session whose token, by its SHA-256, was refused.
    ///
    /// # Errors
    /// [`Error::SessionNotUsable`] if it has ended or its credential has; [`Error::Overtaken`] if rights changed meanwhile
    /// (then ask again, who calls too).
    pub async fn renew_session(
        &self,
        caller: &Seen<Caller>,
        Renewal(session): &Renewal,
        rejected: [u8; 32],
    ) -> Result<SessionAnswer, Error> {
        let (permit, mut basis) = (caller.may_open_sessions()?, Basis::of(caller));
        let account = self.renewable(&permit, session.id, &mut basis).await?;
        let outcome = self.upstream(&account, session.protocol, Some(rejected), &mut basis).await;
        let reason = outcome.as_ref().err().map_or(0, Error::reason_number);
        let event = self.renewal_event(caller, session, account.name.as_str(), reason);
        self.decide(basis, event, None).await?;
        match outcome {
            Ok(opened) => {
                Ok(SessionAnswer::Opened(Box::new(Opened { session: session.id, ..opened })))
            }
            Err(error) => denial_of(error).map(SessionAnswer::Denied),
        }
    }

    /// The account of a session that this adapter may go on with.
    async fn renewable(
        &self,
        permit: &OpenSessions,
        id: SessionId,
        basis: &mut Basis,
    ) -> Result<Seen<Account>, Error> {
        let (now, since) = (self.parts.clock.now(), self.memory.epoch());
        let mut conn = self.read().await?;
        let session = conn.going_mail_session(id).await?.ok_or(Error::SessionNotUsable)?;
        basis.see_at(Changed::Session(id), since);
        let fits = session.adapter == permit.caller()
            && permit.allows(session.protocol)
            && session.opened_at.after(RENEWABLE) > now;
        let row = conn.credential(session.credential).await?.ok_or(Error::SessionNotUsable)?;
        drop(conn);
        basis.see_at(Changed::Credential(session.credential), since);
        let credential = self.parts.sealer.admit(row)?;
        let state = credential.state(now);
        if !fits || matches!(state, CredentialState::Revoked | CredentialState::Expired) {
            return Err(Error::SessionNotUsable);
        }
        let account = self.memory.account(session.account).await?;
        let account = account.ok_or(Error::SessionNotUsable)?;
        basis.see(&account);
        Ok(account)
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
