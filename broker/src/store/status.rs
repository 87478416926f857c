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
            rejected_apps: all!(self, REJECTED => (String,); project)?
                .into_iter()
                .map(|(name,)| name)
                .collect(),
        })
    }
}
