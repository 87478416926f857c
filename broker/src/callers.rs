//! Who calls: from an API key to a checked caller.
//!
//! Never decides what a caller may do (`domain/caller.rs` does). What it remembers of callers (`memory`) goes out with the
//! epoch it was seen at; who decides on it has that judged again, and who does not reads it anew. Invariant: an unknown key
//! costs what a wrong one costs. Next: `grpc` asks at every call; client certificates and workload tokens will come in here.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::caller::{Caller, CallerKey};
use crate::memory::{self, Memory, Seen, Use};
use crate::seal::credential::{KeyedHash, Kind, Presented, parse};
use crate::seal::{SealError, Sealer};
use crate::store;

/// How exact the last use of a key is known: a write for each call would cost more than it tells.
const LAST_USE: Duration = Duration::from_secs(60);

/// Recognises callers.
#[derive(Clone, Debug)]
pub struct Callers {
    memory: Memory,
    sealer: Sealer,
    clock: Clock,
}

/// Why a call has no caller.
#[derive(Debug, thiserror::Error)]
pub enum NoCaller {
    /// No key, or none that works from there. One and the same for every reason.
    #[error("send a valid API key as `authorization: Bearer tbk_..`")]
    Unknown,
    /// The store is away.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A row does not fit its keyed hash, or a key is missing.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<memory::Error> for NoCaller {
    fn from(error: memory::Error) -> Self {
        match error {
            memory::Error::Store(error) => error.into(),
            memory::Error::Seal(error) => error.into(),
        }
    }
}

impl Callers {
    /// Recognises callers by what this memory, and the store behind it, knows.
    pub const fn new(memory: Memory, sealer: Sealer, clock: Clock) -> Self {
        Self { memory, sealer, clock }
    }

    /// The caller with this API key, calling from `address`: one that may be remembered, for what is decided on it.
    ///
    /// # Errors
    /// [`NoCaller::Unknown`] whatever is wrong with the key.
    pub async fn by_key(&self, key: &str, address: IpAddr) -> Result<Seen<Caller>, NoCaller> {
        let presented = parse(key).map_err(|_| NoCaller::Unknown)?;
        if presented.kind != Kind::ApiKey {
            return Err(NoCaller::Unknown);
        }
        if let Some(key) = self.memory.known_key(presented.id.as_str())
            && self.is_genuine(&key, &presented)?
        {
            return self.of_key(key, address).await;
        }
        // A wrong secret costs a look at the store too, as an unknown key does.
        let Some(key) = self.memory.read_key(presented.id.as_str()).await? else {
            self.sealer.dummy_check(&presented);
            return Err(NoCaller::Unknown);
        };
        match self.is_genuine(&key, &presented)? {
            true => self.of_key(key, address).await,
            false => Err(NoCaller::Unknown),
        }
    }

    /// The same for what no decision is recorded of: all changes that were acknowledged before are known.
    ///
    /// # Errors
    /// As [`by_key`](Self::by_key).
    pub async fn by_key_now(&self, key: &str, address: IpAddr) -> Result<Seen<Caller>, NoCaller> {
        self.memory.catch_up().await?;
        self.by_key(key, address).await
    }

    async fn of_key(
        &self,
        key: Seen<CallerKey>,
        address: IpAddr,
    ) -> Result<Seen<Caller>, NoCaller> {
        let caller = self.memory.caller(key.caller).await?.ok_or(NoCaller::Unknown)?;
        let now = self.clock.now();
        if !key.is_live(now) || !caller.may_call_from(address) {
            return Err(NoCaller::Unknown);
        }
        if key.is_to_be_noted(key.last_used_at, now, LAST_USE) {
            self.memory.note(Use::Key(key.id, now));
        }
        Ok(caller.no_newer_than(&key))
    }

    fn is_genuine(&self, key: &CallerKey, presented: &Presented) -> Result<bool, NoCaller> {
        Ok(self.sealer.matches(presented, &KeyedHash::from_bytes(&key.secret_hash)?)?)
    }
}
