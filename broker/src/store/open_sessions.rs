//! Open mail sessions: what of them a change of rights touches, what operators see, and what is left of what was removed.
//!
//! Never judges. Invariants: a session stays here as long as an adapter may relay it, whatever else is removed; what an
//! adapter is told of are its own. Next: `service/watch_revocations` judges, `service/sessions` lists and ends.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::epoch::Changed;
use super::error::Result;
use super::page::{Page, PageRequest};
use super::row::{Cells, row, time};
use super::sessions::SessionRow;
use crate::clock::Time;
use crate::domain::ids::{AccountId, CallerId, CredentialId, ProjectId, SessionId};
use crate::domain::mail::MailProtocol;
use crate::domain::session::{EndReason, OpenSession, SessionRecord};

/// Open sessions that are read at once.
pub const SESSIONS_AT_ONCE: i64 = 500;

/// Which sessions an operator means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFilter {
    /// All of the project.
    All,
    /// Those of an account.
    Account(AccountId),
    /// Those opened with a credential.
    Credential(CredentialId),
    /// Those at an adapter.
    Adapter(CallerId),
}

/// Which open sessions of an adapter are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// All.
    Any,
    /// Those which a step of the rights epoch was about, after the first and up to the second.
    Between(i64, i64),
    /// Those whose credential ended after the first time and up to the second.
    Expired(Time, Time),
}

row!(OpenRow, open_columns {
    id: Vec<u8>, credential: Vec<u8>, account: Vec<u8>, protocol: String, client_address: String, end_wanted: i64,
});

/// A session beside what belongs to it by today's names.
struct RecordRow {
    session: SessionRow,
    end_reason: String,
    end_wanted: i64,
    heard_at: Option<i64>,
    names: [String; 4],
}

macro_rules! open_of {
    ($which:literal) => {
        concat!(
            "select ",
            open_columns!(),
            " from mail_sessions
            where adapter = $1 and ended_at is null and id > $2",
            $which,
            " order by id limit $3"
        )
    };
}

macro_rules! steps {
    ($kind:literal) => {
        concat!(
            "(select subject from rights_changes where epoch > $4 and epoch <= $5 and kind = '",
            $kind,
            "')"
        )
    };
}

/// The newest first: ids carry the time. `$2`: 1 for open ones only; `$3`: 1 for those that nobody asked to end.
macro_rules! records {
    ($which:literal) => {
        concat!("select s.id, s.adapter, s.credential, s.account, s.protocol, s.client_address, s.opened_at, s.ended_at,
                s.renewals, s.upstream, s.bytes_up, s.bytes_down, s.end_reason, s.end_wanted, s.heard_at,
                coalesce(a.project, k.project, s.project) as project, coalesce(a.name, s.account_name) as account_name,
                coalesce(c.key_id, s.credential_key) as credential_key, coalesce(k.name, s.adapter_name) as adapter_name
            from mail_sessions s left join accounts a on a.id = s.account left join credentials c on c.id = s.credential
                left join callers k on k.id = s.adapter
            where coalesce(a.project, k.project, s.project) = $1 and ($2 = 0 or s.ended_at is null)
                and ($3 = 0 or s.end_wanted = 0) and s.id < $4", $which, " order by s.id desc limit $5")
    };
}

statements! {
    OPEN_OF = open_of!("");
    TOUCHED_OF = concat!("select ", open_columns!(), " from mail_sessions
        where adapter = $1 and ended_at is null and id > $2
            and (credential in ", steps!("credential"), " or account in ", steps!("account"), "
                or account in (select accounts.id from accounts where accounts.app in ", steps!("app"), ")
                or id in ", steps!("session"), " or adapter in ", steps!("caller"), ")
        order by id limit $3");
    EXPIRED_OF = open_of!(" and credential in (select credentials.id from credentials
            where credentials.expires_at > $4 and credentials.expires_at <= $5)");
    COUNT_STEPS = "select cast(count(*) as bigint) from rights_changes where epoch > $1 and epoch <= $2";
    RECORDS = records!("");
    RECORD = records!(" and s.id = $6");
    RECORDS_OF_ACCOUNT = records!(" and s.account = $6");
    RECORDS_OF_CREDENTIAL = records!(" and s.credential = $6");
    RECORDS_OF_ADAPTER = records!(" and s.adapter = $6");
    WANT_END = "update mail_sessions set end_wanted = 1 where id = $1 and ended_at is null and end_wanted = 0";
    NAME_CREDENTIAL = "update mail_sessions set
        credential_key = (select credentials.key_id from credentials where credentials.id = $1)
        where credential = $1 and exists (select 1 from credentials where credentials.id = $1)";
    NAME_ACCOUNT = "update mail_sessions set
        account_name = (select accounts.name from accounts where accounts.id = $1),
        project = (select accounts.project from accounts where accounts.id = $1),
        credential_key = coalesce((select credentials.key_id from credentials
            where credentials.id = mail_sessions.credential), credential_key)
        where account = $1 and exists (select 1 from accounts where accounts.id = $1)";
    NAME_ADAPTER = "update mail_sessions set
        adapter_name = (select callers.name from callers where callers.id = $1),
        project = (select callers.project from callers where callers.id = $1)
        where adapter = $1 and exists (select 1 from callers where callers.id = $1)";
}

/// Larger than every id that is made.
const PAST_ALL: [u8; 16] = [0xff; 16];

impl Conn {
    /// At most [`SESSIONS_AT_ONCE`] open sessions of an adapter, by id, after one.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if a row cannot be understood; else as every read.
    pub async fn open_sessions(
        &mut self,
        adapter: CallerId,
        which: Touched,
        after: Option<SessionId>,
    ) -> Result<Vec<OpenSession>> {
        let adapter = adapter.bytes().to_vec();
        let after = after.map_or_else(Vec::new, |id| id.bytes().to_vec());
        let most = SESSIONS_AT_ONCE;
        let rows = match which {
            Touched::Any => all!(self, OPEN_OF => OpenRow; adapter; after; most)?,
            Touched::Between(from, to) => {
                all!(self, TOUCHED_OF => OpenRow; adapter; after; most; from; to)?
            }
            Touched::Expired(from, to) => {
                all!(self, EXPIRED_OF => OpenRow; adapter; after; most; from.millis(); to.millis())?
            }
        };
        rows.into_iter().map(OpenRow::read).collect()
    }

    /// Whether every step after the epoch `from` up to `to` is still remembered.
    ///
    /// # Errors
    /// As every read.
    pub async fn remembers_steps(&mut self, from: i64, to: i64) -> Result<bool> {
        let count = maybe!(self, COUNT_STEPS => (i64,); from; to)?;
        Ok(count.is_some_and(|(count,)| count == to - from))
    }

    /// A session of a project with what became of it.
    ///
    /// # Errors
    /// As [`open_sessions`](Self::open_sessions).
    pub async fn session_record(
        &mut self,
        project: &ProjectId,
        id: SessionId,
    ) -> Result<Option<SessionRecord>> {
        let (all, past) = ([0, 0], PAST_ALL.to_vec());
        let row = maybe!(self, RECORD => RecordRow; project.as_str(); all[0]; all[1]; past; 1_i64;
            id.bytes().to_vec())?;
        row.map(RecordRow::read).transpose()
    }

    /// The sessions of a project, newest first.
    ///
    /// # Errors
    /// As [`open_sessions`](Self::open_sessions).
    pub async fn session_records(
        &mut self,
        project: &ProjectId,
        (filter, live_only): (SessionFilter, bool),
        page: &PageRequest,
    ) -> Result<Page<SessionRecord>> {
        let before = SessionId::parse(page.after()).map_or(PAST_ALL, SessionId::bytes);
        let flags = [live_only, false].map(i64::from);
        let rows = self.records(project, (filter, flags), (before, page.limit())).await?;
        Ok(page.page(rows, |record| record.session.id.to_string()))
    }

    /// At most `limit` open sessions that nobody has asked to end yet.
    ///
    /// # Errors
    /// As [`open_sessions`](Self::open_sessions).
    pub async fn sessions_to_end(
        &mut self,
        project: &ProjectId,
        filter: SessionFilter,
        limit: i64,
    ) -> Result<Vec<SessionRecord>> {
        self.records(project, (filter, [1, 1]), (PAST_ALL, limit)).await
    }

    async fn records(
        &mut self,
        project: &ProjectId,
        (filter, [live, unasked]): (SessionFilter, [i64; 2]),
        (before, limit): ([u8; 16], i64),
    ) -> Result<Vec<SessionRecord>> {
        let (project, before) = (project.as_str(), before.to_vec());
        let (text, id) = match filter {
            SessionFilter::All => {
                let rows = all!(self, RECORDS => RecordRow; project; live; unasked; before; limit)?;
                return rows.into_iter().map(RecordRow::read).collect();
            }
            SessionFilter::Account(id) => (RECORDS_OF_ACCOUNT, id.bytes()),
            SessionFilter::Credential(id) => (RECORDS_OF_CREDENTIAL, id.bytes()),
            SessionFilter::Adapter(id) => (RECORDS_OF_ADAPTER, id.bytes()),
        };
        let id = id.to_vec();
        let rows = all!(self, text => RecordRow; project; live; unasked; before; limit; id)?;
        rows.into_iter().map(RecordRow::read).collect()
    }
}

impl Tx {
    /// Notes that an operator wants a session to end. False if it has ended, or somebody did.
    ///
    /// # Errors
    /// As every write.
    pub async fn want_session_end(&mut self, id: SessionId) -> Result<bool> {
        Ok(run!(self, WANT_END; id.bytes().to_vec())? == 1)
    }

    /// Has the adapter of these sessions look at them: at one by itself, at more by looking at all it has.
    ///
    /// # Errors
    /// As every write.
    pub async fn call_for_sessions(
        &mut self,
        adapter: CallerId,
        sessions: &[SessionId],
    ) -> Result<()> {
        match sessions {
            [] => Ok(()),
            [one] => self.raise_epoch(Changed::Session(*one)).await,
            _ => self.raise_epoch(Changed::Caller(adapter)).await,
        }
    }

    /// Before a credential is removed: its sessions keep its name.
    pub(super) async fn leave_credential_name(&mut self, id: CredentialId) -> Result<()> {
        run!(self, NAME_CREDENTIAL; id.bytes().to_vec()).map(drop)
    }

    /// Before an account is removed with its credentials: its sessions keep their names.
    pub(super) async fn leave_account_name(&mut self, id: AccountId) -> Result<()> {
        run!(self, NAME_ACCOUNT; id.bytes().to_vec()).map(drop)
    }

    /// Before an adapter is removed: its sessions keep its name.
    pub(super) async fn leave_adapter_name(&mut self, id: CallerId) -> Result<()> {
        run!(self, NAME_ADAPTER; id.bytes().to_vec()).map(drop)
    }
}

impl OpenRow {
    fn read(self) -> Result<OpenSession> {
        let at = Cells::of("mail_sessions", &self.id);
        Ok(OpenSession {
            id: at.id("id", &self.id, SessionId::from_bytes)?,
            credential: at.id("credential", &self.credential, CredentialId::from_bytes)?,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            protocol: at.text("protocol", &self.protocol, MailProtocol::parse)?,
            address: OpenSession::address(&self.client_address),
            end_wanted: self.end_wanted == 1,
        })
    }
}

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for RecordRow
where
    for<'c> &'c str: sqlx::ColumnIndex<R>,
    SessionRow: sqlx::FromRow<'r, R>,
    String: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
    i64: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
    Option<i64>: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            session: SessionRow::from_row(row)?,
            end_reason: row.try_get("end_reason")?,
            end_wanted: row.try_get("end_wanted")?,
            heard_at: row.try_get("heard_at")?,
            names: [
                row.try_get("project")?,
                row.try_get("account_name")?,
                row.try_get("credential_key")?,
                row.try_get("adapter_name")?,
            ],
        })
    }
}

impl RecordRow {
    fn read(self) -> Result<SessionRecord> {
        let id = self.session.id.clone();
        let [project, account, credential, adapter] = self.names;
        let reason = Cells::of("mail_sessions", &id);
        Ok(SessionRecord {
            session: self.session.read()?,
            project,
            account,
            credential,
            adapter,
            end_reason: reason.optional("end_reason", &self.end_reason, EndReason::parse)?,
            end_wanted: self.end_wanted == 1,
            heard_at: time(self.heard_at),
        })
    }
}
