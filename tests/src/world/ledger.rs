//! The database of a house as the test sees it: what is due, who is at it, and everything made older at once.
//!
//! Next to the brokers, over a connection of its own; PostgreSQL only. Never touches what is sealed or signed. Invariant: a
//! change takes its turn among the brokers' writers. Next: the tests of several brokers.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::house::House;

/// The brokers' writers take turns by this lock.
const TURN: &str = "select pg_advisory_xact_lock(8389754676633367411)";

/// A connection to the database of a house.
#[derive(Debug)]
pub struct Ledger(PgConnection);

impl Ledger {
    /// Of this house.
    ///
    /// # Errors
    /// It has no PostgreSQL, or that is away.
    pub async fn of(house: &House) -> Result<Self> {
        let url = house.postgres_url().context("no PostgreSQL")?;
        Ok(Self(PgConnection::connect(url).await?))
    }

    /// Makes tokens, grants and schedule older by `span`, as if all of it had happened that much earlier. The provider's clock
    /// has to be moved by as much, for its tokens to be as old.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn age(&mut self, span: Duration) -> Result<()> {
        let ms = i64::try_from(span.as_millis())?;
        let changes = format!(
            "begin; {TURN};
            update access_tokens set issued_at = issued_at - {ms}, expires_at = expires_at - {ms}, used_at = used_at - {ms};
            update grants set received_at = received_at - {ms}, ends_at = ends_at - {ms};
            update refreshes set due_at = due_at - {ms}, refreshed_at = refreshed_at - {ms}, tried_at = tried_at - {ms};
            commit"
        );
        sqlx::raw_sql(AssertSqlSafe(changes)).execute(&mut self.0).await?;
        Ok(())
    }

    /// How many accounts are due now.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn due(&mut self) -> Result<i64> {
        self.count(
            "select count(*) from refreshes where due_at <= extract(epoch from clock_timestamp()) * 1000",
        )
        .await
    }

    /// How many refreshes are under way, by what was written down.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn under_way(&mut self) -> Result<i64> {
        self.count("select count(*) from refresh_attempts where ended_at is null").await
    }

    /// The mailboxes whose refresh was begun by the broker called `name` and did not end well so far, in order.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn begun_by(&mut self, name: &str) -> Result<Vec<String>> {
        let sql = "select a.mailbox from refresh_attempts t join accounts a on a.id = t.account
            where split_part(t.owner, '/', 1) = $1 and t.outcome in ('', 'lost') order by a.mailbox";
        let mut turn = self.0.begin().await?;
        // A broker that was just killed may have sent a commit.
        sqlx::query(TURN).execute(&mut *turn).await?;
        let rows: Vec<(String,)> = sqlx::query_as(sql).bind(name).fetch_all(&mut *turn).await?;
        turn.commit().await?;
        Ok(rows.into_iter().map(|(mailbox,)| mailbox).collect())
    }

    async fn count(&mut self, sql: &'static str) -> Result<i64> {
        Ok(sqlx::query_as::<_, (i64,)>(sql).fetch_one(&mut self.0).await?.0)
    }
}
