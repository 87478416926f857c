//! What was read lately of the rows that decide, so that a call which is like the one before reads nothing.
//!
//! Never decides and never remembers a plain secret or that something is not there. Invariants: a row comes in only after
//! its keyed hash was checked; each goes out with the epoch it was seen at, taken before it was read, and only while nothing
//! is known of a change since; each shelf has a bound. Whatever is decided on it is judged again by the decision lane, which
//! knows the newest epoch: what is remembered here may be old, what is handed out may not. Next: `service/decide.rs`.

mod looks;
mod seen;
mod shelf;
mod uses;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use seen::{AppAtHand, Basis, Seen};
pub use uses::Use;

use self::looks::Looks;
use self::shelf::Shelf;
use self::uses::Uses;
use crate::domain::account::Account;
use crate::domain::caller::{Caller, CallerKey};
use crate::domain::credential::Credential;
use crate::domain::grant::AccessToken;
use crate::domain::guarded::{Guarded, Rights};
use crate::domain::ids::{AccountId, AppId, CallerId, Mailbox, ProjectId, ResourceId};
use crate::seal::{SealError, Sealer};
use crate::store::{self, Bell, Changed, Conn, Rung, Store};
use crate::tasks::Tasks;

/// Why something could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is away.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A row does not fit its keyed hash, or a key is missing.
    #[error(transparent)]
    Seal(#[from] SealError),
}

type Result<T> = std::result::Result<T, Error>;

/// What was read lately. Clones share everything.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    sealer: Sealer,
    uses: Uses,
    looks: Looks,
    /// Of those who look for a credential that is not remembered.
    turns: Semaphore,
    keys: Shelf<String, Seen<CallerKey>>,
    callers: Shelf<CallerId, Seen<Caller>>,
    credentials: Shelf<String, Seen<Credential>>,
    accounts: Shelf<AccountId, Seen<Account>>,
    /// By project and name or mailbox.
    named: Shelf<String, Seen<Account>>,
    apps: Shelf<AppId, Seen<AppAtHand>>,
    /// Of each account, one for each audience.
    tokens: Shelf<AccountId, Vec<Seen<AccessToken>>>,
}

/// Callers, keys and apps are few.
const FEW: usize = 4096;
/// Credentials that are read at a time: fewer than there are connections.
const STRANGERS: usize = 2;
/// Accounts, credentials and tokens are many, and what is beyond this is read again.
const MANY: usize = 32_768;

impl Memory {
    /// Remembers nothing yet. What is noted of uses is written by `tasks`, and rings of `bell` make it forget tokens.
    pub fn new(store: Store, sealer: Sealer, bell: &Bell, tasks: &Tasks) -> Self {
        let memory = Self(Arc::new(Inner {
            uses: Uses::new(store.clone(), tasks.clone()),
            looks: Looks::default(),
            turns: Semaphore::new(STRANGERS),
            store,
            sealer,
            keys: Shelf::with_room(FEW),
            callers: Shelf::with_room(FEW),
            credentials: Shelf::with_room(MANY),
            accounts: Shelf::with_room(MANY),
            named: Shelf::with_room(MANY),
            apps: Shelf::with_room(FEW),
            tokens: Shelf::with_room(MANY),
        }));
        let (of_rings, mut rings, stopping) = (memory.clone(), bell.rings(), tasks.stopping());
        drop(tasks.spawn(async move {
            let follow = async {
                while let Some(rung) = rings.next().await {
                    match rung {
                        Rung::For(account) => of_rings.forget_tokens(account),
                        Rung::Missed => of_rings.forget_all_tokens(),
                    }
                }
            };
            tokio::select! { () = follow => {}, () = stopping => {} }
        }));
        memory
    }

    /// The key of this public part, if it is remembered. Whoever does not find it genuine has to [read](Self::read_key) it,
    /// so that a wrong secret and an unknown key cost the same.
    pub fn known_key(&self, key: &str) -> Option<Seen<CallerKey>> {
        self.current(self.0.keys.find(key))
    }

    /// The key of this public part, as it is now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read_key(&self, key: &str) -> Result<Option<Seen<CallerKey>>> {
        let since = self.epoch();
        let row = self.conn().await?.caller_key(key).await?;
        let seen = self.admit(row, since, |key| Changed::Caller(key.caller))?;
        Ok(self.0.keys.put(key.to_owned(), seen))
    }

    /// A caller.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn caller(&self, id: CallerId) -> Result<Option<Seen<Caller>>> {
        if let Some(seen) = self.current(self.0.callers.find(&id)) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.caller(id).await?;
        let seen = self.admit(row, since, |caller| Changed::Caller(caller.id))?;
        Ok(self.0.callers.put(id, seen))
    }

    /// The callers that may be found by what a certificate or token says, as they are now.
    ///
    /// # Errors
    /// [`Error`]; also for a row that cannot be believed.
    pub async fn read_callers_known_by(&self, lookups: &[String]) -> Result<Vec<Seen<Caller>>> {
        let since = self.epoch();
        let rows = self.conn().await?.callers_known_by(lookups).await?;
        let admit = |row: Guarded<Caller>| {
            let caller = self.0.sealer.admit(row)?;
            let what = Changed::Caller(caller.id);
            Ok(Seen::new(caller, what, since))
        };
        rows.into_iter().map(admit).collect()
    }

    /// The proxy credential of this public part, if it is remembered. That lets in and keeps nobody out: whoever would be
    /// refused by it [catches up](Self::catch_up_together) first.
    pub fn known_credential(&self, key: &str) -> Option<Seen<Credential>> {
        self.current(self.0.credentials.find(key))
    }

    /// The proxy credential of this public part, as it is now or as another read has found it meanwhile. Few are read at a time:
    /// the others wait here, and leave connections to those who are no strangers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read_credential(&self, key: &str) -> Result<Option<Seen<Credential>>> {
        let _turn = self.0.turns.acquire().await.ok();
        if let Some(seen) = self.known_credential(key) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.credential_by_key(key).await?;
        let seen = self.admit(row, since, |it| Changed::Credential(it.id))?;
        Ok(self.0.credentials.put(key.to_owned(), seen))
    }

    /// An account, by row.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn account(&self, id: AccountId) -> Result<Option<Seen<Account>>> {
        if let Some(seen) = self.current(self.0.accounts.find(&id)) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.account(id).await?;
        let seen = self.admit(row, since, |account| Changed::Account(account.id))?;
        Ok(self.0.accounts.put(id, seen))
    }

    /// An account, by its id for people.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn account_by_name(
        &self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<Option<Seen<Account>>> {
        let full = format!("{project}/{name}");
        if let Some(seen) = self.current(self.0.named.find(&full)) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.account_by_name(project, name).await?;
        self.keep_named(full, row, since)
    }

    /// An account, by its mailbox.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn account_by_mailbox(
        &self,
        project: &ProjectId,
        mailbox: &Mailbox,
    ) -> Result<Option<Seen<Account>>> {
        let full = format!("{project}/{}", mailbox.as_str());
        if let Some(seen) = self.current(self.0.named.find(&full)) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.account_by_mailbox(project, mailbox).await?;
        self.keep_named(full, row, since)
    }

    fn keep_named(
        &self,
        full: String,
        row: Option<Guarded<Account>>,
        since: i64,
    ) -> Result<Option<Seen<Account>>> {
        let seen = self.admit(row, since, |account| Changed::Account(account.id))?;
        Ok(self.0.named.put(full, seen))
    }

    /// An app.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn app(&self, id: AppId) -> Result<Option<Seen<AppAtHand>>> {
        if let Some(seen) = self.current(self.0.apps.find(&id)) {
            return Ok(Some(seen));
        }
        let since = self.epoch();
        let row = self.conn().await?.app(id).await?;
        let Some(row) = row else { return Ok(self.0.apps.put(id, None)) };
        let app = self.0.sealer.admit(row)?;
        let seen = Seen::new(AppAtHand::new(app), Changed::App(id), since);
        Ok(self.0.apps.put(id, Some(seen)))
    }

    /// The access token of an account for an audience: one that was good, if not the newest.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn token(
        &self,
        account: AccountId,
        audience: &str,
    ) -> Result<Option<Seen<AccessToken>>> {
        let of = |tokens: &Vec<Seen<AccessToken>>| {
            tokens.iter().find(|token| token.audience == audience).cloned()
        };
        if let Some(seen) = self.current(self.0.tokens.pick(&account, of)) {
            return Ok(Some(seen));
        }
        self.read_token(account, audience).await
    }

    /// The access token of an account for an audience, as it is now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read_token(
        &self,
        account: AccountId,
        audience: &str,
    ) -> Result<Option<Seen<AccessToken>>> {
        let since = self.epoch();
        let token = self.conn().await?.access_token(account, audience).await?;
        Ok(token.map(|token| self.keep_token(token, since)))
    }

    /// Remembers a token that was stored or read after the epoch was `since`.
    pub fn keep_token(&self, token: AccessToken, since: i64) -> Seen<AccessToken> {
        let account = token.account;
        let seen = Seen::new(token, Changed::Account(account), since);
        self.0.tokens.change(account, |tokens| {
            tokens.retain(|other| other.audience != seen.audience);
            tokens.push(seen.clone());
        });
        seen
    }

    /// Forgets the tokens of an account: there may be newer ones.
    pub fn forget_tokens(&self, account: AccountId) {
        self.0.tokens.forget(&account);
    }

    /// Has a use written down, soon, beside the call.
    pub fn note(&self, one: Use) {
        self.0.uses.note(one);
    }

    /// Gets to know every change that was acknowledged by now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn catch_up(&self) -> Result<()> {
        Ok(self.0.store.catch_up().await?)
    }

    /// The same, a moment later, in one look for all who come meanwhile: for those who are about to be refused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn catch_up_together(&self) -> Result<()> {
        Ok(self.0.looks.share(|| self.0.store.catch_up()).await?)
    }

    /// Whether nothing that was looked at is known to have changed.
    pub fn holds(&self, basis: &Basis) -> bool {
        let changes = self.0.store.changes();
        basis.sights().iter().all(|sight| changes.holds(*sight))
    }

    /// Forgets every token: they are sealed anew, for instance.
    pub fn forget_all_tokens(&self) {
        self.0.tokens.forget_all();
    }

    /// Forgets every row: the keys have changed that they were checked by.
    pub fn forget_everything(&self) {
        let Inner { keys, callers, credentials, accounts, named, apps, tokens, .. } = &*self.0;
        keys.forget_all();
        callers.forget_all();
        credentials.forget_all();
        accounts.forget_all();
        named.forget_all();
        apps.forget_all();
        tokens.forget_all();
    }

    /// The epoch to take before a row is read.
    pub fn epoch(&self) -> i64 {
        self.0.store.changes().known()
    }

    async fn conn(&self) -> Result<Conn> {
        Ok(self.0.store.read().await?)
    }

    /// It, unless it is known to have changed.
    fn current<T>(&self, seen: Option<Seen<T>>) -> Option<Seen<T>> {
        seen.and_then(|seen| seen.still(self.0.store.changes()))
    }

    fn admit<T: Rights>(
        &self,
        row: Option<Guarded<T>>,
        since: i64,
        what: impl FnOnce(&T) -> Changed,
    ) -> Result<Option<Seen<T>>> {
        let Some(row) = row else { return Ok(None) };
        let value = self.0.sealer.admit(row)?;
        let what = what(&value);
        Ok(Some(Seen::new(value, what, since)))
    }
}
