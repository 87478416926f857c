//! Mail sessions: accepted logins at the adapters.
//!
//! Never a token. Invariant: only the adapter that opened a session renews and reports it, and a renewal is counted in the
//! statement that allows it. Next: `service/open_session`, `service/renew_session`.

use super::engine::{Conn, Tx, all, maybe, on, run, statements};
use super::error::Result;
use super::many::Many;
use super::row::{Cells, millis, row, time};
use crate::clock::Time;
use crate::domain::ids::{AccountId, CallerId, CredentialId, SessionId};
use crate::domain::mail::MailProtocol;
use crate::domain::session::{EndReason, MailSession};

/// What an adapter tells about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Which.
    pub session: SessionId,
    /// Bytes from client to provider since the last report.
    pub bytes_up: i64,
    /// Bytes from provider to client since the last report.
    pub bytes_down: i64,
    /// When it ended, if it has.
    pub ended_at: Option<Time>,
    /// How the login at the provider went; empty leaves what is there.
    pub upstream: String,
    /// Why it ended, if that is known.
    pub end_reason: Option<EndReason>,
    /// When this was told.
    pub heard_at: Time,
}

row!(SessionRow, session_columns {
    id: Vec<u8>, adapter: Vec<u8>, credential: Vec<u8>, account: Vec<u8>, protocol: String, client_address: String,
    opened_at: i64, ended_at: Option<i64>, renewals: i64, upstream: String, bytes_up: i64, bytes_down: i64,
});

statements! {
    SESSION = concat!("select ", session_columns!(), " from mail_sessions where id = $1");
    GOING_SESSION = concat!("select ", session_columns!(), " from mail_sessions
        where id = $1 and ended_at is null and end_wanted = 0");
    LIVE_SESSIONS = concat!("select ", session_columns!(), " from mail_sessions
        where credential = $1 and ended_at is null order by opened_at, id limit 1000");
    OPEN_SESSION = concat!("insert into mail_sessions (", session_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
    RENEW_SESSION = concat!("update mail_sessions set renewals = renewals + 1
        where id = $1 and adapter = $2 and ended_at is null and end_wanted = 0 and renewals < $3
        returning ", session_columns!());
    REPORT_SESSION = "update mail_sessions set bytes_up = bytes_up + $3, bytes_down = bytes_down + $4,
        ended_at = case when end_reason = 'lost' then $5 else coalesce(ended_at, $5) end,
        upstream = case when $6 = '' then upstream else $6 end,
        end_reason = case when end_reason in ('', 'lost') then $7 else end_reason end, heard_at = $8
        where id = $1 and adapter = $2";
    LOGINS = "select coalesce(sum(case when ended_at is null then 1 else 0 end), 0),
        coalesce(sum(case when opened_at > $2 then 1 else 0 end), 0)
        from mail_sessions where credential = $1 and (ended_at is null or opened_at > $2)";
    LOSE_SESSIONS = "update mail_sessions set end_reason = 'lost',
        ended_at = case when heard_at > opened_at then heard_at else opened_at end
        where ended_at is null and opened_at < $1 and coalesce(heard_at, 0) < $1";
    FORGET_SESSIONS = "delete from mail_sessions where opened_at < $1 and ended_at < $1";
}

/// Many sessions at once.
static OPEN_MANY: Many =
    Many::new(concat!("insert into mail_sessions (", session_columns!(), ") values"), 12);

/// The texts that are made, for the test that prepares them.
#[cfg(test)]
pub(super) fn made(conn: &Conn) -> impl Iterator<Item = &'static str> + use<> {
    OPEN_MANY.all(conn)
}

impl Conn {
    /// One.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn mail_session(&mut self, id: SessionId) -> Result<Option<MailSession>> {
        maybe!(self, SESSION => SessionRow; id.bytes().to_vec())?.map(SessionRow::read).transpose()
    }

    /// One that goes on: it has not ended, and nobody asked for its end.
    ///
    /// # Errors
    /// As [`mail_session`](Self::mail_session).
    pub async fn going_mail_session(&mut self, id: SessionId) -> Result<Option<MailSession>> {
        let row = maybe!(self, GOING_SESSION => SessionRow; id.bytes().to_vec())?;
        row.map(SessionRow::read).transpose()
    }

    /// The oldest 1000 sessions of a credential that have not ended.
    ///
    /// # Errors
    /// As [`mail_session`](Self::mail_session).
    pub async fn live_sessions(&mut self, credential: CredentialId) -> Result<Vec<MailSession>> {
        let rows = all!(self, LIVE_SESSIONS => SessionRow; credential.bytes().to_vec())?;
        rows.into_iter().map(SessionRow::read).collect()
    }
}

impl Conn {
    /// How many sessions of a credential are open, and how many were opened after `since`.
    ///
    /// # Errors
    /// As every read.
    pub async fn logins_of(&mut self, credential: CredentialId, since: Time) -> Result<(i64, i64)> {
        let found =
            maybe!(self, LOGINS => (i64, i64); credential.bytes().to_vec(); since.millis())?;
        Ok(found.unwrap_or_default())
    }
}

impl Tx {
    /// Opens one.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if it is there.
    pub async fn insert_mail_session(&mut self, it: &MailSession) -> Result<()> {
        run!(self, OPEN_SESSION; it.id.bytes().to_vec(); it.adapter.bytes().to_vec();
            it.credential.bytes().to_vec(); it.account.bytes().to_vec(); it.protocol.as_str();
            it.client_address.as_str(); it.opened_at.millis(); millis(it.ended_at); it.renewals;
            it.upstream.as_str(); it.bytes_up; it.bytes_down)
        .map(drop)
    }

    /// Opens many.
    ///
    /// # Errors
    /// As [`insert_mail_session`](Self::insert_mail_session).
    pub(super) async fn insert_mail_sessions(&mut self, sessions: &[&MailSession]) -> Result<()> {
        for (text, rows) in OPEN_MANY.chunks(self, sessions) {
            on!(self, wire => {
                let mut query = sqlx::query(text);
                for it in rows {
                    query = query.bind(it.id.bytes().to_vec()).bind(it.adapter.bytes().to_vec())
                        .bind(it.credential.bytes().to_vec()).bind(it.account.bytes().to_vec())
                        .bind(it.protocol.as_str()).bind(it.client_address.as_str())
                        .bind(it.opened_at.millis()).bind(millis(it.ended_at)).bind(it.renewals)
                        .bind(it.upstream.as_str()).bind(it.bytes_up).bind(it.bytes_down);
                }
                query.execute(wire).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Counts a renewal. `None` if the session is not `adapter`'s, has ended or is to end, or had `most` renewals.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every write.
    pub async fn renew_mail_session(
        &mut self,
        id: SessionId,
        adapter: CallerId,
        most: i64,
    ) -> Result<Option<MailSession>> {
        let (id, adapter) = (id.bytes().to_vec(), adapter.bytes().to_vec());
        let row = maybe!(self, RENEW_SESSION => SessionRow; id; adapter; most)?;
        row.map(SessionRow::read).transpose()
    }

    /// Adds what an adapter reports. False if it has no such session. An end, once noted, stays, unless it was our guess.
    ///
    /// # Errors
    /// As every write.
    pub async fn report_mail_session(
        &mut self,
        adapter: CallerId,
        report: &SessionReport,
    ) -> Result<bool> {
        let SessionReport {
            session,
            bytes_up,
            bytes_down,
            ended_at,
            upstream,
            end_reason,
            heard_at,
        } = report;
        let (id, adapter) = (session.bytes().to_vec(), adapter.bytes().to_vec());
        let reason = end_reason.map_or("", EndReason::as_str);
        let known = run!(self, REPORT_SESSION; id; adapter; *bytes_up; *bytes_down; millis(*ended_at);
            upstream.as_str(); reason; heard_at.millis())?;
        Ok(known == 1)
    }

    /// Closes sessions that their adapters have not told of since `time`: those died with them.
    ///
    /// # Errors
    /// As every write.
    pub async fn lose_mail_sessions(&mut self, time: Time) -> Result<u64> {
        run!(self, LOSE_SESSIONS; time.millis())
    }

    /// Forgets sessions that ended before `time`.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_mail_sessions(&mut self, time: Time) -> Result<u64> {
        run!(self, FORGET_SESSIONS; time.millis())
    }
}

impl SessionRow {
    pub(super) fn read(self) -> Result<MailSession> {
        let at = Cells::of("mail_sessions", &self.id);
        Ok(MailSession {
            id: at.id("id", &self.id, SessionId::from_bytes)?,
            adapter: at.id("adapter", &self.adapter, CallerId::from_bytes)?,
            credential: at.id("credential", &self.credential, CredentialId::from_bytes)?,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            protocol: at.text("protocol", &self.protocol, MailProtocol::parse)?,
            client_address: self.client_address,
            opened_at: Time::from_millis(self.opened_at),
            ended_at: time(self.ended_at),
            renewals: self.renewals,
            upstream: self.upstream,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
        })
    }
}
