//! The broker's database through a door of our own: to count what is stored, and to fill tables faster than any API could.
//!
//! Never writes a row that a measured refresh touches. Next: [`super::refresh`] counts with it, [`super::schedule`] fills.

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use std::path::Path;
use std::time::{Duration, Instant};

use crate::world::{Engine, House};

/// A connection of either engine.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Database {
    /// That of a house.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) async fn of(house: &House) -> Result<Self> {
        match house.postgres_url() {
            None => Self::file(&house.folder().join("broker.db")).await,
            Some(url) => Ok(Self::Postgres(Box::new(PgConnection::connect(url).await?))),
        }
    }

    /// A file, with the settings of the broker's own.
    async fn file(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        Ok(Self::Sqlite(Box::new(options.connect().await?)))
    }

    /// Which engine it is.
    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs statements.
    ///
    /// # Errors
    /// The engine refuses one.
    pub(super) async fn run(&mut self, sql: String) -> Result<()> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(to) => sqlx::raw_sql(sql).execute(&mut **to).await.map(drop)?,
            Self::Postgres(to) => sqlx::raw_sql(sql).execute(&mut **to).await.map(drop)?,
        }
        Ok(())
    }

    /// The one number that a statement gives.
    ///
    /// # Errors
    /// It gives none.
    pub(super) async fn number(&mut self, sql: &'static str) -> Result<i64> {
        let row = match self {
            Self::Sqlite(to) => sqlx::query_as::<_, (i64,)>(sql).fetch_optional(&mut **to).await?,
            Self::Postgres(to) => {
                sqlx::query_as::<_, (i64,)>(sql).fetch_optional(&mut **to).await?
            }
        };
        Ok(row.context("no row")?.0)
    }

    /// Lets it go.
    ///
    /// # Errors
    /// It cannot be closed.
    pub(super) async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(from) => from.close().await?,
            Self::Postgres(from) => from.close().await?,
        }
        Ok(())
    }
}

/// Durable commits a second that the engine gives one writer who does nothing else: one row each, on the disk of `house`.
///
/// # Errors
/// The database cannot be written.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) async fn commits_a_second(house: &House, span: Duration) -> Result<f64> {
    let mut database = match house.postgres_url() {
        None => Database::file(&house.folder().join("commits.db")).await?,
        Some(_) => Database::of(house).await?,
    };
    database.run("create table bench_commits (number bigint, text text)".to_owned()).await?;
    let row = "x".repeat(300);
    let began = Instant::now();
    let mut commits = 0_i64;
    while began.elapsed() < span {
        const INSERT: &str = "insert into bench_commits (number, text) values ($1, $2)";
        match &mut database {
            Database::Sqlite(to) => {
                sqlx::query(INSERT).bind(commits).bind(&row).execute(&mut **to).await.map(drop)?;
            }
            Database::Postgres(to) => {
                sqlx::query(INSERT).bind(commits).bind(&row).execute(&mut **to).await.map(drop)?;
            }
        }
        commits += 1;
    }
    let rate = commits as f64 / began.elapsed().as_secs_f64();
    database.run("drop table bench_commits".to_owned()).await?;
    database.close().await?;
    Ok(rate)
}
