//! Who calls: from an API key to a checked caller.
//!
//! Never decides what a caller may do (`domain/caller.rs` does) and never remembers one between calls: a key that was
//! revoked is refused by the next call. Invariant: an unknown key costs what a wrong one costs. Next: `grpc` asks at every
//! call; client certificates and workload tokens will come in here.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::caller::{Caller, CallerKey};
use crate::domain::guarded::Guarded;
use crate::seal::credential::{KeyedHash, Kind, Presented, parse};
use crate::seal::{SealError, Sealer};
use crate::store::{self, Store};
use crate::tasks::Tasks;

/// How exact the last use of a key is known: a write for each call would cost more than it tells.
const LAST_USE: Duration = Duration::from_secs(60);

/// Recognises callers.
#[derive(Clone, Debug)]
pub struct Callers {
    store: Store,
    sealer: Sealer,
    clock: Clock,
    tasks: Tasks,
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

impl Callers {
    /// Recognises callers by what this store knows.
    pub const fn new(store: Store, sealer: Sealer, clock: Clock, tasks: Tasks) -> Self {
        Self { store, sealer, clock, tasks }
    }

    /// The caller with this API key, calling from `address`.
    ///
    /// # Errors
    /// [`NoCaller::Unknown`] whatever is wrong with the key.
    pub async fn by_key(&self, key: &str, address: IpAddr) -> Result<Caller, NoCaller> {
        let presented = parse(key).map_err(|_| NoCaller::Unknown)?;
        if presented.kind != Kind::ApiKey {
            return Err(NoCaller::Unknown);
        }
        let mut conn = self.store.read().await?;
        let Some(row) = conn.caller_key(presented.id.as_str()).await? else {
            self.sealer.dummy_check(&presented);
            return Err(NoCaller::Unknown);
        };
        let key = self.genuine(row, &presented)?;
        let row = conn.caller(key.caller).await?.ok_or(NoCaller::Unknown)?;
        let caller = self.sealer.admit(row)?;
        if !caller.may_call_from(address) {
            return Err(NoCaller::Unknown);
        }
        self.note_use(key);
        Ok(caller)
    }

    fn genuine(
        &self,
        row: Guarded<CallerKey>,
        presented: &Presented,
    ) -> Result<CallerKey, NoCaller> {
        let key = self.sealer.admit(row)?;
        let matches = self.sealer.matches(presented, &KeyedHash::from_bytes(&key.secret_hash)?)?;
        if matches && key.is_live(self.clock.now()) { Ok(key) } else { Err(NoCaller::Unknown) }
    }

    /// Writes the last use down beside the call; a call does not wait for that and does not fail with it.
    fn note_use(&self, key: CallerKey) {
        let now = self.clock.now();
        if key.last_used_at.is_some_and(|last| last.after(LAST_USE) > now) {
            return;
        }
        let store = self.store.clone();
        drop(self.tasks.spawn(async move {
            let noted = store.write(move |tx| Box::pin(tx.touch_caller_key(key.id, now))).await;
            if let Err(error) = noted {
                tracing::debug!(%error, "the last use of a key was not noted");
            }
        }));
    }
}
