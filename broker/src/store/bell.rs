//! Tells those who wait for an account that something happened to it, and those who watch rights that some changed, over all
//! brokers that share a database; and keeps two brokers from having one name.
//!
//! Never the truth: a ring may be lost, so whoever waits looks by itself now and then. Invariants: a ring carries a row id or
//! nothing; while a broker is connected nobody else joins under its name. Next: `service/refresh` and `service/rights_feed`
//! wait for it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, broadcast};

use super::engine::{Pool, Wire};
use super::error::{Error, Result};
use super::{Store, Tx};
use crate::domain::ids::AccountId;
use crate::tasks::Tasks;

const CHANNEL: &str = "token_broker_refreshed";
const RIGHTS: &str = "token_broker_rights";

/// PostgreSQL only: a file has one broker.
mod sql {
    pub(super) const NOTIFY: &str = "select count(pg_notify('token_broker_refreshed', account)) from unnest($1::text[]) as account";
    pub(super) const NOTIFY_RIGHTS: &str = "select pg_notify('token_broker_rights', '')";
    pub(super) const CLAIM: &str =
        "select pg_try_advisory_lock(hashtextextended($1, 8389754676633367411))";
}

/// Rings that a slow waiter may be behind; beyond that it is woken for nothing.
const BACKLOG: usize = 1024;

/// The pause before listening again after the connection was lost.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the server may take to notice that the last broker of this name is gone.
const CLAIMS: u32 = 40;
const CLAIM_PAUSE: Duration = Duration::from_millis(250);

/// The bell. Clones ring the same.
#[derive(Clone, Debug)]
pub struct Bell {
    accounts: broadcast::Sender<AccountId>,
    rights: Arc<Notify>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { accounts: broadcast::channel(BACKLOG).0, rights: Arc::default() }
    }
}

impl Bell {
    /// Rings for an account, in this process.
    pub fn ring(&self, account: AccountId) {
        // Nobody may be waiting.
        drop(self.accounts.send(account));
    }

    /// Listens to all of its rings.
    pub fn rings(&self) -> Rings {
        Rings(self.accounts.subscribe())
    }

    /// Resolves at the next ring for this account.
    pub async fn rung_for(&self, account: AccountId) {
        let mut rings = self.accounts.subscribe();
        loop {
            match rings.recv().await {
                Ok(rung) if rung == account => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Rings for changed rights, in this process.
    pub fn ring_rights(&self) {
        self.rights.notify_one();
    }

    /// Resolves at the next ring for changed rights, or at once if there was one since the last. For one waiter.
    pub async fn rung_for_rights(&self) {
        self.rights.notified().await;
    }
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// It rang for this account.
    For(AccountId),
    /// It rang more often than could be listened to.
    Missed,
}

/// Hears every ring from now on.
#[derive(Debug)]
pub struct Rings(broadcast::Receiver<AccountId>);

impl Rings {
    /// The next ring; `None` when there is no bell any more.
    pub async fn next(&mut self) -> Option<Rung> {
        match self.0.recv().await {
            Ok(account) => Some(Rung::For(account)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Rung::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Tx {
    /// Has the bells of all brokers ring for an account, once this is committed.
    pub fn ring(&mut self, account: AccountId) {
        self.pending.ring(account);
    }

    /// Leaves the rings to the database, which passes them on after the commit; a file has nobody to pass them on to.
    pub(super) async fn pass_rings(&mut self) -> Result<()> {
        let (rings, rights) = (self.pending.take_rings(), self.pending.take_rights());
        let Wire::Postgres(wire) = &mut self.0 else { return Ok(()) };
        if !rings.is_empty() {
            let accounts: Vec<String> = rings.iter().map(AccountId::to_string).collect();
            sqlx::query(sql::NOTIFY).bind(accounts).execute(&mut **wire).await?;
        }
        if rights {
            sqlx::query(sql::NOTIFY_RIGHTS).execute(&mut **wire).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Joins the brokers that share the database, under `name` if there is one, and passes on their rings until `tasks` stop.
    ///
    /// # Errors
    /// [`Error::NameTaken`] while another broker has the name, [`Error::Unreachable`] without a connection.
    pub async fn join(&self, name: Option<&str>, bell: &Bell, tasks: &Tasks) -> Result<()> {
        let Pool::Postgres(pool) = &self.readers else { return Ok(()) };
        let listener = listen(pool, name).await?;
        let (pool, bell, stopping) = (pool.clone(), bell.clone(), tasks.stopping());
        let name = name.map(str::to_owned);
        drop(tasks.spawn(async move {
            tokio::select! {
                () = stopping => {}
                () = pass_on(&pool, listener, name.as_deref(), &bell) => {}
            }
        }));
        Ok(())
    }
}

async fn listen(pool: &PgPool, name: Option<&str>) -> Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    if let Some(name) = name {
        claim(&mut listener, name).await?;
    }
    listener.listen_all([CHANNEL, RIGHTS]).await?;
    Ok(listener)
}

async fn claim(listener: &mut PgListener, name: &str) -> Result<()> {
    for _ in 0..CLAIMS {
        let claim = sqlx::query_as::<_, (bool,)>(sql::CLAIM).bind(name);
        if claim.fetch_one(&mut *listener).await?.0 {
            return Ok(());
        }
        tokio::time::sleep(CLAIM_PAUSE).await;
    }
    Err(Error::NameTaken { name: name.to_owned() })
}

async fn pass_on(pool: &PgPool, first: PgListener, name: Option<&str>, bell: &Bell) {
    let mut listener = Some(first);
    loop {
        let heard = match listener.take() {
            Some(listener) => hear(listener, bell).await,
            None => match listen(pool, name).await {
                Ok(again) => {
                    listener = Some(again);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = heard {
            tracing::debug!(%error, "not listening to other brokers for a moment");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the connection is lost.
async fn hear(mut listener: PgListener, bell: &Bell) -> Result<()> {
    while let Some(heard) = listener.try_recv().await? {
        if heard.channel() == RIGHTS {
            bell.ring_rights();
        } else if let Some(account) = AccountId::parse(heard.payload()) {
            bell.ring(account);
        }
    }
    Ok(())
}
