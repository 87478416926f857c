//! Who calls: from what a call shows (an API key, a client certificate, a token) to one checked caller.
//!
//! Never decides what a caller may do (`domain/caller.rs` does). What it remembers of callers (`memory`) goes out with the
//! epoch it was seen at; who decides on it has that judged again, and who does not catches up first. Invariants: the way is
//! always the same, from what is shown to a lookup key, to a row that its keyed hash admits, to the checks; an unknown key
//! costs what a wrong one costs; what fits two callers is nobody's. Next: `grpc/authenticate.rs` asks at every call.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::caller::{Caller, CallerKey};
use crate::domain::caller_identity::{CertificateNames, Vouched};
use crate::memory::{self, Memory, Seen, Use};
use crate::providers::workload::{TokenRefused, Workloads};
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
    workloads: Workloads,
    clock: Clock,
}

/// What a call shows. All of it has to be the same caller's.
#[derive(Clone, Copy)]
pub struct Shown<'c> {
    /// What stands behind `Bearer`: an API key or a token.
    pub bearer: Option<&'c str>,
    /// The names in a client certificate that was verified for this call.
    pub certificate: Option<&'c CertificateNames>,
    /// Where the call comes from.
    pub address: IpAddr,
}

/// Why a call has no caller.
#[derive(Debug, thiserror::Error)]
pub enum NoCaller {
    /// Nothing was shown, or nothing that is one caller's. One and the same for every reason.
    #[error("nothing that was shown is one caller's")]
    Unknown,
    /// It is this caller, but not from one of its networks.
    #[error("{} does not call from there", .0.resource_name())]
    Elsewhere(Box<Caller>),
    /// The keys of a token's issuer cannot be had.
    #[error("the keys of the token's issuer cannot be had")]
    IssuerAway,
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
    /// Recognises callers by what this memory, the store behind it, knows and these issuers say.
    pub const fn new(memory: Memory, sealer: Sealer, workloads: Workloads, clock: Clock) -> Self {
        Self { memory, sealer, workloads, clock }
    }

    /// Gets to know every change that was acknowledged by now: for what no decision is recorded of.
    ///
    /// # Errors
    /// [`NoCaller::Store`].
    pub async fn catch_up(&self) -> Result<(), NoCaller> {
        Ok(self.memory.catch_up().await?)
    }

    /// The caller of a call that shows this: one that may be remembered, for what is decided on it.
    ///
    /// # Errors
    /// [`NoCaller::Unknown`] whatever is wrong with it.
    pub async fn recognise(&self, shown: Shown<'_>) -> Result<Seen<Caller>, NoCaller> {
        let certified = match shown.certificate {
            Some(names) => Box::pin(self.by_certificate(names)).await?,
            None => None,
        };
        let (caller, key) = match shown.bearer {
            None => (certified.clone().ok_or(NoCaller::Unknown)?, None),
            Some(token) if token.contains('.') => (Box::pin(self.by_token(token)).await?, None),
            Some(key) => self.by_key(key).await.map(|(caller, key)| (caller, Some(key)))?,
        };
        if let Some(certified) = &certified
            && certified.id != caller.id
        {
            tracing::debug!(
                "a call shows a certificate of one caller and a key or token of another"
            );
            return Err(NoCaller::Unknown);
        }
        if caller.revoked_at.is_some() {
            return Err(NoCaller::Unknown);
        }
        if !caller.may_call_from(shown.address) {
            return Err(NoCaller::Elsewhere(Box::new(Caller::clone(&caller))));
        }
        if let Some(key) = key {
            self.note_use(&key);
        }
        Ok(match certified {
            Some(certified) => caller.no_newer_than(&certified),
            None => caller,
        })
    }

    /// The caller with this API key, and the key.
    async fn by_key(&self, key: &str) -> Result<(Seen<Caller>, Seen<CallerKey>), NoCaller> {
        let presented = parse(key).map_err(|_| NoCaller::Unknown)?;
        if presented.kind != Kind::ApiKey {
            return Err(NoCaller::Unknown);
        }
        if let Some(key) = self.memory.known_key(presented.id.as_str())
            && self.is_genuine(&key, &presented)?
        {
            return self.of_key(key).await;
        }
        // A wrong secret costs a look at the store too, as an unknown key does.
        let Some(key) = Box::pin(self.memory.read_key(presented.id.as_str())).await? else {
            self.sealer.dummy_check(&presented);
            return Err(NoCaller::Unknown);
        };
        match self.is_genuine(&key, &presented)? {
            true => self.of_key(key).await,
            false => Err(NoCaller::Unknown),
        }
    }

    async fn of_key(
        &self,
        key: Seen<CallerKey>,
    ) -> Result<(Seen<Caller>, Seen<CallerKey>), NoCaller> {
        let caller = self.memory.caller(key.caller).await?.ok_or(NoCaller::Unknown)?;
        if !key.is_live(self.clock.now()) {
            return Err(NoCaller::Unknown);
        }
        Ok((caller.no_newer_than(&key), key))
    }

    /// The caller of a certificate with these names; `None` if it is nobody's. A certificate may belong to somebody who
    /// calls with a key, so that alone is no error.
    async fn by_certificate(
        &self,
        names: &CertificateNames,
    ) -> Result<Option<Seen<Caller>>, NoCaller> {
        if !names.are_plain() {
            tracing::debug!("a client certificate has a SPIFFE id and another URI");
            return Err(NoCaller::Unknown);
        }
        self.only(&names.lookups(), |caller| caller.is_named_by(names)).await
    }

    /// The caller of this token.
    async fn by_token(&self, token: &str) -> Result<Seen<Caller>, NoCaller> {
        let vouched = match self.workloads.verify(token, self.clock.now()).await {
            Ok(vouched) => vouched,
            Err(TokenRefused::KeysAway(_)) => return Err(NoCaller::IssuerAway),
            Err(why) => {
                tracing::debug!(%why, "a token was refused");
                return Err(NoCaller::Unknown);
            }
        };
        let Vouched { issuer, .. } = &vouched;
        let found = self.only(&vouched.lookups(), |caller| caller.is_vouched_by(&vouched)).await?;
        found.ok_or_else(|| {
            tracing::debug!(%issuer, "a token is good, but no caller has a rule that it fits");
            NoCaller::Unknown
        })
    }

    /// The one caller among those found there that fits. Rows that cannot be believed are an error and not skipped: without
    /// them, what fits two callers could come to fit one.
    async fn only(
        &self,
        lookups: &[String],
        fits: impl Fn(&Caller) -> bool,
    ) -> Result<Option<Seen<Caller>>, NoCaller> {
        let mut found: Option<Seen<Caller>> = None;
        for caller in self.memory.read_callers_known_by(lookups).await? {
            if caller.revoked_at.is_some() || !fits(&caller) {
                continue;
            }
            if let Some(other) = found.replace(caller) {
                let names = (other.resource_name(), found.map(|it| it.resource_name()));
                tracing::warn!(?names, "what a call shows fits two callers, so it is nobody's");
                return Err(NoCaller::Unknown);
            }
        }
        Ok(found)
    }

    /// Has the last use written down beside the call; a call does not wait for that and does not fail with it.
    fn note_use(&self, key: &Seen<CallerKey>) {
        let now = self.clock.now();
        if key.is_to_be_noted(key.last_used_at, now, LAST_USE) {
            self.memory.note(Use::Key(key.id, now));
        }
    }

    fn is_genuine(&self, key: &CallerKey, presented: &Presented) -> Result<bool, NoCaller> {
        Ok(self.sealer.matches(presented, &KeyedHash::from_bytes(&key.secret_hash)?)?)
    }
}
