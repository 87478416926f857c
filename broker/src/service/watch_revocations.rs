//! What an adapter has to end: from the steps of the rights epoch to the sessions that they touch, each judged by what the
//! rights are now.
//!
//! Never ends anything for a change that takes nothing away, and never writes. Invariants: a session is in the database before
//! its adapter hears of it, so it is found by whichever change comes after, or its login is refused; a checkpoint is given only
//! after the database was read, and everything up to it was told. Next: `domain/session.rs` judges, `grpc/watch.rs` tells.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::caller::{Caller, OpenSessions};
use crate::domain::credential::Credential;
use crate::domain::guarded::{Guarded, Rights};
use crate::domain::ids::{AccountId, AppId, CredentialId, SessionId};
use crate::domain::session::{EndReason, Grounds, OpenSession};
use crate::service::rights_feed::Subscription;
use crate::service::{Error, Service};
use crate::store::{self, Conn, REMEMBERED, SESSIONS_AT_ONCE, Touched};

/// How often an adapter hears of us if nothing happens.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// How long the database may be silent before an adapter is sent to another broker.
const PATIENCE: Duration = Duration::from_secs(3);
/// How far back credentials that ended are looked at again: a login that was judged just before may be recorded after, and
/// another broker's clock may be behind.
const MARGIN: Duration = Duration::from_secs(60);

/// An adapter that watches.
#[derive(Debug)]
pub struct Watcher {
    service: Service,
    news: Subscription,
    at: Option<Cursor>,
    told: Option<Instant>,
}

/// What has to end, and up to where that is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// Sessions, each with the reason.
    pub ends: Vec<(SessionId, EndReason)>,
    /// Where to go on.
    pub cursor: Cursor,
}

/// How far an adapter has been told: the epoch, and when credentials were last looked at for their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch: i64,
    looked: Time,
}

impl Cursor {
    /// What an adapter sends back. `None` if it is none of ours: then it is told everything.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, looked) = text.split_once('.')?;
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        Some(Self { epoch: number(epoch)?, looked: Time::from_millis(number(looked)?) })
    }

    /// When rights were looked at.
    pub const fn time(self) -> Time {
        self.looked
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.looked.millis())
    }
}

impl Service {
    /// Begins to watch for an adapter, from `cursor` on.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] if the caller is no adapter; [`Error::Unavailable`] if too many watch.
    pub fn watch_revocations(
        &self,
        caller: &Caller,
        cursor: Option<Cursor>,
    ) -> Result<Watcher, Error> {
        caller.may_open_sessions()?;
        let news = self.rights.subscribe().ok_or(Error::Unavailable(store::Error::Busy))?;
        Ok(Watcher { service: self.clone(), news, at: cursor, told: None })
    }

    /// Resolves when the broker stops.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.parts.tasks.stopping()
    }
}

impl Watcher {
    /// Waits until there may be something to tell, at most a second after [`next`](Self::next).
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database has not answered for seconds.
    pub async fn wait(&mut self) -> Result<(), Error> {
        let patience = Instant::now() + PATIENCE;
        let Some(told) = self.told else { return Ok(()) };
        let due = told + CHECKPOINT;
        while Instant::now() < due {
            let moved = timeout_at(patience, self.news.seen.changed()).await;
            let seen = *self.news.seen.borrow_and_update();
            let Some(seen) = seen.filter(|_| matches!(moved, Ok(Ok(())))) else {
                return Err(Error::Unavailable(store::Error::Busy));
            };
            if self.at.is_none_or(|at| at.epoch != seen.epoch) {
                break;
            }
        }
        Ok(())
    }

    /// What `permit`'s adapter has to end since the last time.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. Nothing is lost then: the next call starts where this one did.
    pub async fn next(&mut self, permit: &OpenSessions) -> Result<Revocations, Error> {
        let now = self.service.parts.clock.now();
        let mut conn = self.service.read().await?;
        // Before the sessions: what changes meanwhile is told next time.
        let epoch = conn.rights_epoch().await?;
        let mut bench = Bench::new(&self.service, permit, now);
        let known = self.at.filter(|at| at.epoch <= epoch && epoch - at.epoch <= REMEMBERED);
        let whole = match known {
            None => false,
            Some(at) => {
                if at.epoch < epoch {
                    bench.judge(&mut conn, Touched::Between(at.epoch, epoch)).await?;
                }
                let since = at.looked.min(now).before(MARGIN);
                bench.judge(&mut conn, Touched::Expired(since, now)).await?;
                conn.remembers_steps(at.epoch, epoch).await?
            }
        };
        if !whole {
            bench.ends.clear();
            bench.judge(&mut conn, Touched::Any).await?;
        }
        let cursor = Cursor { epoch, looked: now };
        let ends = bench.ends;
        (self.at, self.told) = (Some(cursor), Some(Instant::now()));
        Ok(Revocations { ends, cursor })
    }
}

/// Judges sessions; reads each thing they stand on once.
struct Bench<'a> {
    service: &'a Service,
    permit: &'a OpenSessions,
    now: Time,
    credentials: HashMap<CredentialId, Ground<Credential>>,
    accounts: HashMap<AccountId, Ground<Account>>,
    /// Whether it is switched off.
    apps: HashMap<AppId, bool>,
    ends: Vec<(SessionId, EndReason)>,
}

/// A row that a session stands on.
enum Ground<T> {
    Firm(T),
    Gone,
    /// It does not fit its keyed hash: it grants nothing, and somebody has to look.
    Corrupt,
}

impl<'a> Bench<'a> {
    fn new(service: &'a Service, permit: &'a OpenSessions, now: Time) -> Self {
        let (credentials, accounts, apps) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { service, permit, now, credentials, accounts, apps, ends: Vec::new() }
    }

    async fn judge(&mut self, conn: &mut Conn, which: Touched) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = conn.open_sessions(self.permit.caller(), which, after).await?;
            for session in &page {
                let verdict = self.verdict(conn, session).await?;
                self.ends.extend(verdict.map(|reason| (session.id, reason)));
            }
            after = page.last().map(|session| session.id);
            if i64::try_from(page.len()).is_ok_and(|count| count < SESSIONS_AT_ONCE) {
                return Ok(());
            }
        }
    }

    async fn verdict(
        &mut self,
        conn: &mut Conn,
        session: &OpenSession,
    ) -> Result<Option<EndReason>, Error> {
        if !self.credentials.contains_key(&session.credential) {
            let row = conn.credential(session.credential).await;
            self.credentials.insert(session.credential, self.ground(row)?);
        }
        if !self.accounts.contains_key(&session.account) {
            let row = conn.account(session.account).await;
            self.accounts.insert(session.account, self.ground(row)?);
        }
        let credential = self.credentials.get(&session.credential).unwrap_or(&Ground::Gone);
        let account = self.accounts.get(&session.account).unwrap_or(&Ground::Gone);
        let (Some(credential), Some(account)) = (credential.firm(), account.firm()) else {
            return Ok(Some(EndReason::ContactAdmin));
        };
        let app_disabled = match account {
            None => false,
            Some(account) => match self.apps.get(&account.app) {
                Some(disabled) => *disabled,
                None => {
                    let row = self.ground(conn.app(account.app).await)?;
                    let disabled = !matches!(row, Ground::Firm(app) if !app.disabled);
                    self.apps.insert(account.app, disabled);
                    disabled
                }
            },
        };
        let grounds = Grounds { adapter: self.permit, credential, account, app_disabled };
        Ok(session.must_end(&grounds, self.now))
    }

    /// A row that cannot be believed is none to stand on; a store that is away is no reason to end anything.
    fn ground<T: Rights>(
        &self,
        row: store::Result<Option<Guarded<T>>>,
    ) -> Result<Ground<T>, Error> {
        let row = match row {
            Ok(None) => return Ok(Ground::Gone),
            Ok(Some(row)) => self.service.parts.sealer.admit(row).map_err(Error::from),
            Err(error @ store::Error::Corrupt { .. }) => Err(Error::ours(error)),
            Err(error) => return Err(error.into()),
        };
        Ok(match row {
            Ok(row) => Ground::Firm(row),
            Err(error) => {
                tracing::error!(%error, table = T::TABLE, "sessions end on a row that cannot be believed");
                Ground::Corrupt
            }
        })
    }
}

impl<T> Ground<T> {
    /// The row, none if it was removed; `None` if it is not to be believed.
    const fn firm(&self) -> Option<Option<&T>> {
        match self {
            Self::Firm(row) => Some(Some(row)),
            Self::Gone => Some(None),
            Self::Corrupt => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_what_is_none_is_none() {
        let cursor = Cursor { epoch: 7, looked: Time::from_millis(1_800_000_000_123) };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for text in ["", "7", "7.", ".7", "7.x", "-1.5", "7.-5", "7.5.5"] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
