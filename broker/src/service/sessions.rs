//! Mail sessions as managers see them, and ending them.
//!
//! Never ends a connection: its adapter does, told by the watch. Invariants: what a manager ends is noted on the session
//! before the answer, so it is not forgotten while the adapter is away; each end has its audit record.
//! Next: `watch_revocations.rs`.

use std::collections::BTreeMap;

use crate::domain::caller::Manage;
use crate::domain::event::{Event, What};
use crate::domain::ids::{ResourceId, SessionId};
use crate::domain::session::SessionRecord;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};
use crate::store::{Page, PageRequest, Result, SessionFilter, Tx};

/// Sessions that one transaction ends.
const BATCH: i64 = 200;
/// Sessions that one call ends.
const MOST: usize = 10_000;

/// Which sessions a manager means: all that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionWish {
    /// Those of an account.
    pub account: Option<AccountName>,
    /// Those opened with a credential, by its public part.
    pub credential: Option<String>,
    /// Those at an adapter.
    pub adapter: Option<ResourceId>,
}

impl Service {
    /// The sessions of a project, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] if what the wish names is not there.
    pub async fn sessions(
        &self,
        permit: &Manage,
        (wish, live_only): (&SessionWish, bool),
        page: PageRequest,
    ) -> std::result::Result<Page<SessionRecord>, Error> {
        let filter = self.session_filter(permit, wish).await?;
        let mut conn = self.read().await?;
        Ok(conn.session_records(permit.project(), (filter, live_only), &page).await?)
    }

    /// One session.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn session(
        &self,
        permit: &Manage,
        id: SessionId,
    ) -> std::result::Result<SessionRecord, Error> {
        let found = self.read().await?.session_record(permit.project(), id).await?;
        found.ok_or_else(|| Error::NotFound(format!("session {id}")))
    }

    /// Has one session ended. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn end_session(
        &self,
        permit: &Manage,
        id: SessionId,
    ) -> std::result::Result<SessionRecord, Error> {
        let record = self.session(permit, id).await?;
        let event = self.session_end_event(permit);
        self.write(move |tx| {
            Box::pin(async move { end(tx, std::slice::from_ref(&record), &event).await })
        })
        .await?;
        self.session(permit, id).await
    }

    /// Has all open sessions ended that fit. Says how many, and whether there are more.
    ///
    /// # Errors
    /// [`Error::NotFound`] if what the wish names is not there.
    pub async fn end_sessions(
        &self,
        permit: &Manage,
        wish: &SessionWish,
    ) -> std::result::Result<(usize, bool), Error> {
        let filter = self.session_filter(permit, wish).await?;
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.end_all(&permit, filter).await }).await
    }

    async fn end_all(
        &self,
        permit: &Manage,
        filter: SessionFilter,
    ) -> std::result::Result<(usize, bool), Error> {
        let mut ended = 0;
        while ended < MOST {
            let (project, event) = (permit.project().clone(), self.session_end_event(permit));
            let batch = self.write(move |tx| {
                Box::pin(async move {
                    let records = tx.sessions_to_end(&project, filter, BATCH).await?;
                    end(tx, &records, &event).await
                })
            });
            match batch.await? {
                0 => return Ok((ended, false)),
                some => ended += some,
            }
        }
        Ok((ended, true))
    }

    /// The narrowest that the store can look for.
    async fn session_filter(
        &self,
        permit: &Manage,
        wish: &SessionWish,
    ) -> std::result::Result<SessionFilter, Error> {
        match wish {
            SessionWish { account: Some(name), credential: None, adapter: None } => {
                let account = self.account_named(permit.project(), name).await?;
                Ok(SessionFilter::Account(account.id))
            }
            SessionWish { account: None, credential: Some(key), adapter: None } => {
                let view = self.credential(permit, key).await?;
                Ok(SessionFilter::Credential(view.credential.id))
            }
            SessionWish { account: None, credential: None, adapter: Some(name) } => {
                let row = self.read().await?.caller_by_name(permit.project(), name).await?;
                let row = row.ok_or_else(|| Error::NotFound(format!("caller {name}")))?;
                Ok(SessionFilter::Adapter(self.parts.sealer.admit(row)?.id))
            }
            SessionWish { account: None, credential: None, adapter: None } => {
                Ok(SessionFilter::All)
            }
            _ => Err(Error::invalid("filter", "use one of account, credential and adapter")),
        }
    }

    fn session_end_event(&self, permit: &Manage) -> Event {
        self.managed(permit, What::SessionEnded, "", "")
    }
}

/// Notes on each that it is to end, with a record for each that was open, and has their adapters look.
async fn end(tx: &mut Tx, records: &[SessionRecord], event: &Event) -> Result<usize> {
    let mut by_adapter = BTreeMap::<_, Vec<SessionId>>::new();
    for record in records {
        let session = &record.session;
        if !tx.want_session_end(session.id).await? {
            continue;
        }
        let event = Event {
            account: record.account.clone(),
            subject: session.id.to_string(),
            address: session.client_address.clone(),
            detail: session.protocol.as_str().to_owned(),
            ..event.clone()
        };
        tx.append_audit(event).await?;
        by_adapter.entry(session.adapter.bytes()).or_default().push(session.id);
    }
    let mut ended = 0;
    for (adapter, sessions) in by_adapter {
        ended += sessions.len();
        let adapter = crate::domain::ids::CallerId::from_bytes(adapter);
        tx.call_for_sessions(adapter, &sessions).await?;
    }
    Ok(ended)
}
