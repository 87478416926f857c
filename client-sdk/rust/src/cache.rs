//! Keeps tokens, asks for newer ones ahead of time, and lets one question serve all who wait for the same answer.
//!
//! Never hands out a token that was rejected or has ended; never asks twice at once for the same thing. A refusal
//! that somebody has to mend (consent, rights) drops the token: the broker decided. A failure that passes by itself
//! does not: the token is handed out, marked stale, while it lives. Invariant: asking runs in tasks of the cache's
//! own, so a caller that goes away ends nobody else's wait; they end when the last clone is dropped. Next: `tokens`'
//! `Wire` is the source.

mod table;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::table::{Table, passes};
use crate::errors::Error;
use crate::token::AccessToken;

/// How often a caller joins a question that turns out to have been another one's.
const JOINS: usize = 3;

/// What a token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) account: String,
    pub(crate) audience: String,
    pub(crate) scopes: Vec<String>,
}

/// One question to the source.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    pub(crate) min_ttl: Option<Duration>,
    pub(crate) rejected: Option<[u8; 32]>,
    pub(crate) deadline: Duration,
}

/// Where tokens come from: the broker, or a test.
pub(crate) trait Source: Send + Sync + 'static {
    fn fetch(&self, ask: Ask) -> impl Future<Output = Result<AccessToken, Error>> + Send;
}

type Outcome = Option<Result<AccessToken, Error>>;

/// The cache. Clones share it.
pub(crate) struct TokenCache<S> {
    source: Arc<S>,
    table: Arc<Mutex<Table>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

enum Found {
    Token(AccessToken),
    Flight { outcome: watch::Receiver<Outcome>, ours: bool },
}

impl<S: Source> TokenCache<S> {
    /// Keeps at most `limit` tokens.
    pub(crate) fn new(source: S, limit: usize) -> Self {
        let table = Table::new(limit);
        Self { source: Arc::new(source), table: Arc::new(Mutex::new(table)), tasks: Arc::default() }
    }

    /// A token that lives for `min_ttl`, from the table or the source, within `deadline`.
    pub(crate) async fn token(
        &self,
        key: Key,
        min_ttl: Option<Duration>,
        deadline: Duration,
    ) -> Result<AccessToken, Error> {
        let until = Instant::now() + deadline;
        let mut ask = Ask { key, min_ttl, rejected: None, deadline };
        for _ in 0..JOINS {
            let (outcome, ours) = match self.find(&mut ask) {
                Some(Found::Token(token)) => return Ok(token),
                Some(Found::Flight { outcome, ours }) => (outcome, ours),
                None => break,
            };
            match timeout_at(until, landed(outcome)).await.unwrap_or(Err(Error::Deadline)) {
                Ok(token) if self.serves(&ask, &token, ours) => return Ok(token),
                Ok(_) => {}
                Err(error) => return self.stale_or(&ask.key, error),
            }
        }
        timeout_at(until, self.source.fetch(ask)).await.unwrap_or(Err(Error::Deadline))
    }

    /// Forgets `token` wherever it is kept and remembers its hash for the next question.
    pub(crate) fn reject(&self, token: &AccessToken) {
        let hash = token.hash();
        let mut table = lock(&self.table);
        let holders = table.entries.values_mut();
        for entry in holders.filter(|e| e.token.as_ref().is_some_and(|t| t.hash() == hash)) {
            entry.token = None;
            entry.rejected = Some(hash);
        }
    }

    /// What the table has for `ask`: a token, a question under way, or one begun now. `None` if the table is full.
    fn find(&self, ask: &mut Ask) -> Option<Found> {
        let now = Instant::now();
        let mut table = lock(&self.table);
        let entry = table.entry(&ask.key, now)?;
        entry.used = now;
        ask.rejected = entry.rejected;
        if let Some(token) = entry.usable(ask.min_ttl, now) {
            if now >= entry.look_again && entry.flight.is_none() {
                entry.flight = Some(self.begin(ask.clone()));
            }
            return Some(Found::Token(token));
        }
        if let Some(outcome) = &entry.flight {
            return Some(Found::Flight { outcome: outcome.clone(), ours: false });
        }
        let outcome = self.begin(ask.clone());
        entry.flight = Some(outcome.clone());
        Some(Found::Flight { outcome, ours: true })
    }

    /// Asks the source in a task of its own.
    fn begin(&self, ask: Ask) -> watch::Receiver<Outcome> {
        let (tell, outcome) = watch::channel(None);
        let source = Arc::clone(&self.source);
        let table = Arc::downgrade(&self.table);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let landing = Landing { table, key: ask.key.clone(), tell };
            let outcome = source.fetch(ask).await;
            landing.land(outcome);
        });
        outcome
    }

    /// Whether an answer serves this caller: always if it asked itself, else if it lives long enough and was not
    /// rejected meanwhile.
    fn serves(&self, ask: &Ask, token: &AccessToken, ours: bool) -> bool {
        let table = lock(&self.table);
        let rejected = table.entries.get(&ask.key).and_then(|entry| entry.rejected);
        let refused = rejected.is_some_and(|hash| hash == token.hash());
        !refused && (ours || token.is_stale() || token.lasts(ask.min_ttl, Instant::now()))
    }

    fn stale_or(&self, key: &Key, error: Error) -> Result<AccessToken, Error> {
        let table = lock(&self.table);
        let kept = table.entries.get(key).and_then(|entry| entry.token.as_ref());
        match kept {
            Some(token) if passes(&error) && !token.left(Instant::now()).is_zero() => {
                Ok(token.as_stale(&error))
            }
            _ => Err(error),
        }
    }
}

/// Puts a question's outcome into the table and tells those who wait, also when the task is cut short.
struct Landing {
    table: Weak<Mutex<Table>>,
    key: Key,
    tell: watch::Sender<Outcome>,
}

impl Landing {
    fn land(self, outcome: Result<AccessToken, Error>) {
        if let Some(table) = self.table.upgrade() {
            lock(&table).settle(&self.key, &outcome);
        }
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.tell.borrow().is_some() {
            return;
        }
        let Some(table) = self.table.upgrade() else { return };
        if let Some(entry) = lock(&table).entries.get_mut(&self.key) {
            entry.flight = None;
        }
    }
}

async fn landed(mut outcome: watch::Receiver<Outcome>) -> Result<AccessToken, Error> {
    let cut_short = || Error::Unavailable {
        message: "the question to the broker was cut short".into(),
        reason: None,
        retry_after: None,
    };
    match outcome.wait_for(Option::is_some).await {
        Ok(seen) => seen.clone().unwrap_or_else(|| Err(cut_short())),
        Err(_) => Err(cut_short()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Clone for TokenCache<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            table: Arc::clone(&self.table),
            tasks: Arc::clone(&self.tasks),
        }
    }
}

impl<S> fmt::Debug for TokenCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = lock(&self.table);
        f.debug_struct("TokenCache")
            .field("kept", &table.entries.len())
            .field("limit", &table.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
