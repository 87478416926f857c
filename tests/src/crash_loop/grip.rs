//! Holds the broker's database so that nothing more can be stored: what the provider answers now has to go elsewhere.
//!
//! Changes nothing in it. Invariant: the database is free again when the [`Grip`] is dropped. Next: [`super::rounds`] takes it
//! for the failpoint `spill.written`, which nothing else reaches.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::scene::Scene;

const POLL: Duration = Duration::from_millis(2);

/// A database that cannot be written by others.
#[derive(Debug)]
pub(super) enum Grip {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Grip {
    /// Waits until a refresh is under way and then holds the database; its intent is stored, its answer cannot be.
    pub(super) async fn take(scene: &Scene) -> Result<Self> {
        let mut grip = Self::reach(scene).await?;
        let (truth, began) = (scene.provider.truth(), Instant::now());
        while truth.stats().in_flight == 0 {
            ensure!(began.elapsed() < Duration::from_secs(10), "nobody refreshes");
            tokio::time::sleep(POLL).await;
        }
        match &mut grip {
            Self::Sqlite(connection) => {
                sqlx::query("begin immediate").execute(connection).await.context("hold")?;
            }
            Self::Postgres(connection) => {
                sqlx::query("begin").execute(&mut *connection).await?;
                let hold = "lock table grants in share row exclusive mode";
                sqlx::query(hold).execute(connection).await.context("hold")?;
            }
        }
        Ok(grip)
    }

    async fn reach(scene: &Scene) -> Result<Self> {
        if let Some(url) = scene.house.postgres_url() {
            return Ok(Self::Postgres(PgConnection::connect(url).await?));
        }
        let file = scene.house.folder().join("broker.db");
        let options = SqliteConnectOptions::new().filename(file);
        Ok(Self::Sqlite(options.busy_timeout(Duration::from_secs(10)).connect().await?))
    }

    /// Lets go; the broker that was held is dead.
    pub(super) async fn release(self) {
        // What fails to close was closed by the other side.
        match self {
            Self::Sqlite(connection) => drop(connection.close().await),
            Self::Postgres(connection) => drop(connection.close().await),
        }
    }
}
