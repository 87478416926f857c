//! What the broker can do: one verb, one file.
//!
//! Never sees a gRPC or HTTP type. Every verb takes a permit or asks for one, decides with `domain`, acts through `store`,
//! `seal` and `providers`, and leaves an audit record. Invariant: nothing that writes runs inside the caller's own future,
//! so a client that goes away interrupts nothing. Next: `access_token.rs` is the shortest walk through the house.

mod access_token;
pub mod accounts;
mod app_secrets;
mod apps;
mod audit;
mod callers;
mod cancel_consent;
mod changes;
mod check_rights;
mod checkpoint_audit;
mod consent_link;
mod create_app;
mod create_caller;
mod create_consent;
mod create_credential;
mod create_key_term;
mod credentials;
mod decide;
mod delete_account;
mod diagnose_account;
mod drain;
mod due;
mod entrance;
mod error;
mod finish_consent;
mod flights;
mod gates;
mod gathered;
mod give_back;
mod identity;
mod key_status;
pub mod keyring;
pub mod lookup;
mod open_consent;
mod open_session;
mod pace;
pub mod places;
mod presence;
mod proof;
mod prune_audit;
mod receive_answer;
mod recover;
mod refresh;
mod refresh_begin;
mod refresh_landing;
mod refresh_outcome;
mod refresh_refused;
mod refusal_grid;
mod refused_call;
mod refused_login;
mod rehash;
mod remove_key_term;
mod renew_session;
mod report_sessions;
mod reseal;
mod reseal_page;
mod reset_breaker;
mod resolve;
mod revoke_account;
mod revoke_caller;
mod revoke_credential;
mod rights_feed;
mod rotate_credential;
mod rotate_kek;
mod sessions;
mod spilled;
mod status;
mod tidy;
mod token_status;
mod update_account;
mod update_app;
mod update_caller;
mod verify_app;
mod verify_audit;
mod watch_revocations;
mod write_refusals;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use access_token::{Granted, TokenWish};
pub use app_secrets::NewAppSecret;
pub use apps::{AppChange, AppDraft, AppView, Verified};
pub use audit::AuditChains;
pub use callers::{CallerChange, CallerDraft, CallerView, NewKey};
pub use checkpoint_audit::{AuditSettings, CheckpointSettings};
pub use create_consent::{ConsentDraft, ConsentView};
pub use create_credential::CredentialDraft;
pub use credentials::{CredentialView, NewCredential};
pub use decide::TRIES;
pub use drain::{Drain, LetIn, Serving};
pub use due::{Look, SLOTS};
pub use entrance::{Entrance, Outside, Place};
pub use error::Error;
pub use key_status::{KeyStatus, TermState, TermView};
pub use open_consent::{Departure, Invitation};
pub use open_session::{Denial, DenialKind, LoginAttempt, Opened, SessionAnswer};
pub use presence::LIVE;
pub use receive_answer::{Answer, Arrival};
pub use refusal_grid::REFUSAL_STEP;
pub use renew_session::Renewal;
pub use report_sessions::{Report, UpstreamLogin};
pub use reset_breaker::Reset;
pub use sessions::SessionWish;
pub use status::Status;
pub use token_status::TokenStatus;
pub use update_account::AccountChange;
pub use verify_audit::{AuditVerdict, ChainVerdict};
pub use watch_revocations::{Cursor, Revocations, Watcher};

pub use crate::domain::refresh::gate::EndpointState;
pub use crate::seal::RefusedRow;
pub use crate::store::{
    AccountFilter, AuditFilter, EventFilter, Kind, Page, PageRequest, PausedApp, Replica, Reseal,
};

use crate::clock::{Clock, Time};
use crate::domain::event::Event;
use crate::entropy::Entropy;
use crate::memory::Memory;
use crate::providers::client::ProviderClient;
use crate::providers::mail_proof::MailProof;
use crate::providers::preset::Presets;
use crate::seal::{Custody, Sealer};
use crate::spill::Spill;
use crate::store::{self, Bell, Store, Tx, Work};
use crate::tasks::Tasks;

/// The parts the verbs work with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Keeps everything.
    pub store: Store,
    /// Seals and opens.
    pub sealer: Sealer,
    /// Finds the key-encryption keys.
    pub custody: Custody,
    /// Speaks to providers.
    pub providers: ProviderClient,
    /// Knows them.
    pub presets: Presets,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids and secrets.
    pub entropy: Entropy,
    /// Runs what must not be interrupted.
    pub tasks: Tasks,
    /// How browsers reach us.
    pub public_url: Url,
    /// Which replica this is, for leases and attempts.
    pub replica: String,
    /// When the process started.
    pub started_at: Time,
    /// Proves a consent by one real login.
    pub proof: MailProof,
    /// How refreshes go.
    pub refresh: RefreshSettings,
    /// How what is handed out is decided.
    pub decisions: DecisionSettings,
    /// How long the audit is kept, and where it is attested.
    pub audit: AuditSettings,
    /// Answers that the store could not take.
    pub spill: Spill,
    /// Rings when something happened to an account.
    pub bell: Bell,
}

/// How refreshes go.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshSettings {
    /// How long after the first refusal of a grant it is asked for confirmation. Default 30 s.
    pub confirm_after: Duration,
    /// How long a lease lasts; longer than a request to a provider may take. 15 s.
    pub lease: Duration,
    /// Calls of a token endpoint a second, of each app. Default 50.
    pub rate_per_app: f64,
    /// Calls a second of each token endpoint, by all apps together. Default 400.
    pub rate_per_endpoint: f64,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self {
            confirm_after: Duration::from_secs(30),
            lease: Duration::from_secs(15),
            rate_per_app: 50.0,
            rate_per_endpoint: 400.0,
        }
    }
}

/// How what is handed out is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionSettings {
    /// Tokens leave before their record is durable: a crash may lose the records of the last milliseconds, and a revocation
    /// acts within [`RELAXED_LAG`](store::RELAXED_LAG). Default no.
    pub relaxed: bool,
}

/// The broker's verbs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    parts: Arc<Parts>,
    flights: flights::Flights,
    gates: gates::Gates,
    memory: Memory,
    refusals: refused_login::Refusals,
    refused_calls: refused_call::RefusedCalls,
    pace: pace::Pace,
    rights: rights_feed::RightsFeed,
    held: keyring::Held,
    said: presence::Said,
    at_work: reseal::AtWork,
    drain: Drain,
    attested: checkpoint_audit::Attested,
    entrance: Entrance,
    /// Random at each start.
    salt: [u8; 16],
}

impl Service {
    /// A service over these parts.
    pub fn new(parts: Parts) -> Self {
        let rates = gates::Rates {
            app: parts.refresh.rate_per_app,
            endpoint: parts.refresh.rate_per_endpoint,
        };
        let gates = gates::Gates::new(rates);
        let (store, sealer) = (parts.store.clone(), parts.sealer.clone());
        let memory = Memory::new(store, sealer, &parts.bell, &parts.tasks);
        let salt = parts.entropy.bytes();
        let lane = parts.store.clone();
        Self {
            parts: Arc::new(parts),
            flights: flights::Flights::default(),
            gates,
            memory,
            refusals: refused_login::Refusals::default(),
            refused_calls: refused_call::RefusedCalls::default(),
            pace: pace::Pace::default(),
            rights: rights_feed::RightsFeed::default(),
            held: keyring::Held::default(),
            said: presence::Said::default(),
            at_work: reseal::AtWork::default(),
            drain: Drain::default(),
            attested: checkpoint_audit::Attested::default(),
            entrance: Entrance::new(move || lane.commit_time()),
            salt,
        }
    }

    /// What was read lately.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How browsers reach this broker.
    pub fn public_url(&self) -> &Url {
        &self.parts.public_url
    }

    /// Runs `work` to its end even if the caller goes away meanwhile.
    async fn detached<F, T>(&self, work: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        self.parts.tasks.spawn(work).await.unwrap_or_else(|lost| Err(Error::ours(lost)))
    }

    /// Has the one writer do `job`, durable when this returns.
    async fn write<T, J>(&self, job: J) -> Result<T, Error>
    where
        J: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
        T: Send + 'static,
    {
        self.parts.store.write(job).await.map_err(Error::from)
    }

    /// Writes one audit record, durable when this returns.
    async fn record(&self, event: Event) -> Result<(), Error> {
        self.write(move |tx| Box::pin(async move { tx.append_audit(event).await.map(drop) })).await
    }

    /// A connection to read with.
    async fn read(&self) -> Result<store::Conn, Error> {
        Ok(self.parts.store.read().await?)
    }
}
