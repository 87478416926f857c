//! How much there is, for the operator's status page.
//!
//! Never a name of a person and no right. Next: `service/status`.

use super::Store;
use super::engine::{Conn, Pool, all, maybe, statements};
use super::error::Result;
use crate::clock::Time;
use crate::domain::ids::ProjectId;

/// Counts of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Apps.
    pub apps: i64,
    /// Accounts by standing, `disabled` for those switched off; by name of the standing.
    pub accounts: Vec<(String, i64)>,
    /// Credentials that are neither revoked nor past their end.
    pub active_credentials: i64,
    /// Callers that are not revoked.
    pub active_callers: i64,
    /// The ids of the first 100 apps their provider refuses.
    pub rejected_apps: Vec<String>,
    /// The first 100 apps that are left alone for a while.
    pub paused_apps: Vec<PausedApp>,
    /// Accounts whose newest refresh token was sent and whose answer never came.
    pub interrupted_accounts: i64,
}

/// An app that is left alone for a while, by all brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedApp {
    /// Its id for people.
    pub app: String,
    /// When it is asked again.
    pub retry_at: Time,
    /// How often in a row its provider refused it; 0 if it asked for silence.
    pub refusals: i64,
}

statements! {
    APPS = "select count(*) from apps where project = $1";
    ACCOUNTS = "select case when disabled = 1 then 'disabled' else standing end as state, count(*)
        from accounts where project = $1 group by 1 order by 1";
    ALL_ACCOUNTS = "select case when disabled = 1 then 'disabled' else standing end as state, count(*)
        from accounts group by 1 order by 1";
    CREDENTIALS = "select count(*) from credentials where revoked_at is null
        and (expires_at is null or expires_at > $2)
        and account in (select id from accounts where project = $1)";
    CALLERS = "select count(*) from callers where project = $1 and revoked_at is null";
    PAUSED = "select name, retry_at, refusals from apps where project = $1
        and (health = 'rejected' or retry_at > $2) order by name limit 100";
    INTERRUPTED = "select count(*) from (select distinct account, generation from refresh_attempts
            where outcome in ('', 'lost') and ended_at is not null limit 10000) as sent
        where generation = (select max(generation) from grants where grants.account = sent.account)
        and account in (select id from accounts where project = $1)";
    REJECTED = "select name from apps where project = $1 and health = 'rejected' order by name limit 100";
}

impl Store {
    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match self.readers {
            Pool::Sqlite(_) => "sqlite",
            Pool::Postgres(_) => "postgres",
        }
    }

    /// The newest migration; every open store has it applied.
    pub fn schema_version(&self) -> i64 {
        super::migrations::known()
    }
}

impl Conn {
    /// Accounts by standing, over all projects. Looks at every account: not for every request.
    ///
    /// # Errors
    /// As every read.
    pub async fn account_counts(&mut self) -> Result<Vec<(String, i64)>> {
        all!(self, ALL_ACCOUNTS => (String, i64))
    }

    /// Counts what is in `project` and works at `now`.
    ///
    /// # Errors
    /// As every read.
    pub async fn counts(&mut self, project: &ProjectId, now: Time) -> Result<Counts> {
        let project = project.as_str();
        let one = |row: Option<(i64,)>| row.map_or(0, |(count,)| count);
        Ok(Counts {
            apps: one(maybe!(self, APPS => (i64,); project)?),
            accounts: all!(self, ACCOUNTS => (String, i64); project)?,
            active_credentials: one(maybe!(self, CREDENTIALS => (i64,); project; now.millis())?),
            active_callers: one(maybe!(self, CALLERS => (i64,); project)?),
            interrupted_accounts: one(maybe!(self, INTERRUPTED => (i64,); project)?),
            paused_apps: all!(self, PAUSED => (String, i64, i64); project; now.millis())?
                .into_iter()
                .map(|(app, retry_at, refusals)| PausedApp {
                    app,
                    retry_at: Time::from_millis(retry_at),
                    refusals,
                })
                .collect(),
            rejected_apps: all!(self, REJECTED => (String,); project)?
                .into_iter()
                .map(|(name,)| name)
                .collect(),
        })
    }
}
