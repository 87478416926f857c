//! Builds the broker bottom-up from its settings; the one place that knows every room.
//!
//! Never decides anything. Invariant: each line uses only names above it; the store is opened before a door is, and drained
//! after the last one has closed. Next: `main` calls this; `service` is what the doors lead to.

mod instance;
mod name;
mod upkeep;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

use crate::callers::Callers;
use crate::clock::Clock;
use crate::config::Config;
use crate::entropy::Entropy;
use crate::grpc::{self, GrpcSettings, Plane};
use crate::http;
use crate::providers::address::AddressRule;
use crate::providers::client::ProviderClient;
use crate::providers::mail_proof::MailProof;
use crate::providers::preset::Presets;
use crate::providers::wire::{self, Wire, WireSettings};
use crate::providers::workload::Workloads;
use crate::scheduler;
use crate::seal::{Custody, Kek, SourceError, write_new};
use crate::service::{Parts, Service};
use crate::spill::Spill;
use crate::store::{self, Bell, Store};
use crate::tasks::Tasks;
use crate::telemetry::metrics;

pub use instance::InstanceError;

/// How long one login may take that proves a consent.
const PROOF_DEADLINE: Duration = Duration::from_secs(15);

/// How long the store may take to write what is queued when everything else has stopped.
const STORE_GRACE: Duration = Duration::from_secs(10);

/// Everything behind the doors.
#[derive(Debug)]
pub struct Core {
    /// The verbs.
    pub service: Service,
    /// Recognises callers.
    pub callers: Callers,
    /// The time everyone was given.
    pub clock: Clock,
    /// The randomness everyone was given.
    pub entropy: Entropy,
    /// The work of the doors.
    pub tasks: Tasks,
    /// The work of the store, which outlives the doors'.
    store_tasks: Tasks,
}

/// Whether a store without an instance gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewInstance {
    /// Yes, with a key of its own: `init`.
    Make,
    /// No: an empty store means that something is wrong.
    Refuse,
}

/// Why the broker does not start. Each says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The instance in the store.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// A preset file that was built in.
    #[error(transparent)]
    Presets(#[from] crate::providers::preset::PresetBroken),
    /// The client towards providers.
    #[error("providers: {0}")]
    Wire(#[from] wire::WireSetupError),
    /// The issuers of callers' tokens.
    #[error("callers.issuer.ca_file: {0}")]
    Issuers(String),
    /// A port.
    #[error(
        "{field}: cannot listen on {address}: {why}. Stop what uses it, or choose another port"
    )]
    Listen {
        /// The setting.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: String,
    },
    /// A certificate.
    #[error("{field}.tls: {why}")]
    Tls {
        /// The door.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The figures.
    #[error("metrics: {0}")]
    Metrics(String),
    /// What the last run left behind could not be taken up.
    #[error(
        "what the last run left behind cannot be stored: {0}. Nothing was lost; mend that and start again"
    )]
    Recover(#[source] crate::service::Error),
    /// The brokers that share the store could not be joined.
    #[error("this broker cannot join those that share its store: {0}")]
    Join(#[source] crate::service::Error),
    /// A signal handler.
    #[error("signals: {0}")]
    Signals(#[from] std::io::Error),
}

impl Core {
    /// Opens the store and everything above it but the doors.
    ///
    /// # Errors
    /// [`StartError`] says what to mend.
    pub async fn open(
        config: &Config,
        env: crate::seal::Environment<'_>,
        new: NewInstance,
    ) -> Result<Self, StartError> {
        Self::open_with(config, env, new, (Clock::system(), Entropy::system())).await
    }

    /// The same with a time and a randomness of one's own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        config: &Config,
        env: crate::seal::Environment<'_>,
        new: NewInstance,
        (clock, entropy): (Clock, Entropy),
    ) -> Result<Self, StartError> {
        let custody = Custody::new(config.kek.clone(), config.next_kek.clone(), env);
        let store_tasks = Tasks::new();
        let start = name::start_of(&entropy);
        let store =
            Store::open_as(&config.store, name::chain(config, &start), &store_tasks).await?;
        let sealer = instance::open(&store, &custody, (&clock, &entropy), new).await?;
        let loopback = config.providers.allow_insecure_loopback;
        let wire = Wire::new(
            WireSettings {
                extra_ca_file: config.providers.ca_file.clone(),
                addresses: AddressRule {
                    allow_insecure_loopback: loopback,
                    allow_private: loopback,
                },
                ..WireSettings::default()
            },
            clock.clone(),
        )?;
        let roots = Arc::new(wire::tls(config.providers.ca_file.as_deref())?);
        let (tasks, bell) = (Tasks::new(), Bell::default());
        let name = name::join(&store, config.replica.clone(), (&bell, &store_tasks)).await?;
        let replica = name.map_or(start.clone(), |name| format!("{name}/{start}"));
        let service = Service::new(Parts {
            store: store.clone(),
            sealer: sealer.clone(),
            custody,
            providers: ProviderClient::new(wire, clock.clone()),
            presets: Presets::embedded()?,
            clock: clock.clone(),
            entropy: entropy.clone(),
            tasks: tasks.clone(),
            public_url: config.http.public_url.clone(),
            replica,
            started_at: clock.now(),
            proof: MailProof::new(roots, PROOF_DEADLINE),
            refresh: config.refresh.clone(),
            decisions: config.decisions,
            audit: config.audit.clone(),
            spill: Spill::new(config.spill.clone()),
            bell: bell.clone(),
        });
        drop(tasks.spawn(service.clone().follow_rights()));
        let workloads = Workloads::new(&config.issuers, &clock)
            .map_err(|error| StartError::Issuers(error.to_string()))?;
        let callers = Callers::new(service.memory().clone(), sealer, workloads, clock.clone());
        Ok(Self { service, callers, clock, entropy, tasks, store_tasks })
    }

    /// Lets work in flight come to its end, the store's last.
    pub async fn close(self, grace: Duration) {
        if !self.tasks.drain(grace).await {
            tracing::warn!("work was still going on when the time to stop was over");
        }
        let Self { service, callers, store_tasks, .. } = self;
        service.leave_replicas().await;
        drop((service, callers));
        store_tasks.drain(STORE_GRACE).await;
    }
}

/// Makes a key-encryption key where the configuration wants one from a file that is not there.
///
/// # Errors
/// If it cannot be written.
pub fn make_kek(config: &Config) -> Result<bool, SourceError> {
    let crate::seal::KeySource::File(path) = &config.kek else { return Ok(false) };
    if path.exists() {
        return Ok(false);
    }
    new_kek(path).map(|_| true)
}

/// Makes a key-encryption key in a new file that only its owner may read. Gives its id.
///
/// # Errors
/// If there is anything at `path`, or it cannot be written.
pub fn new_kek(path: &Path) -> Result<String, SourceError> {
    let kek = Kek::generate(&Entropy::system());
    write_new(&kek, path).map(|()| kek.id().to_owned())
}

/// Opens the doors and serves until a signal says to stop.
///
/// # Errors
/// [`StartError`] if a door cannot be opened.
pub async fn serve(config: &Config, core: Core) -> Result<(), StartError> {
    // First of all, so that a signal which comes while the doors open is not the end of it.
    let signals = Signals::listen()?;
    let doubts = core.service.recover().await.map_err(StartError::Recover)?;
    if doubts > 0 {
        tracing::warn!(doubts, "accounts whose refresh was interrupted may have lost their grant");
    }
    let figures = metrics::start().map_err(|error| StartError::Metrics(error.to_string()))?;
    let ops = listen("ops.address", config.ops).await?;
    let identities = open_doors(config, &core).await?;
    announce(config, core.service.public_url());
    if config.decisions.relaxed {
        tracing::warn!(
            revocation_acts_within_ms = store::RELAXED_LAG.as_millis(),
            "decision.mode is relaxed: tokens leave before their audit record is durable, so that a crash may lose the \
             records of the last milliseconds"
        );
    }

    let tasks = &core.tasks;
    upkeep::hourly(&core.service, tasks);
    let (of_ops, service) = (tasks.clone(), core.service.clone());
    drop(tasks.spawn(async move { http::ops::serve_ops(ops, figures, service, &of_ops).await }));
    upkeep::refusals(&core.service, tasks);
    upkeep::checkpoints(&core.service, tasks);
    until_told(signals, tasks, &identities).await;
    core.close(config.drain).await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the doors for programs and browsers, and starts the schedule. Gives the certificates of the gRPC doors, for reloading.
///
/// # Errors
/// [`StartError`] if a door cannot be opened.
pub async fn open_doors(
    config: &Config,
    core: &Core,
) -> Result<[Option<grpc::Identity>; 2], StartError> {
    let grpc = listen("grpc.address", config.grpc.address).await?;
    let admin = listen("admin.address", config.admin.address).await?;
    let web = listen("http.address", config.http.address).await?;
    let identities = [identity("grpc", &config.grpc)?, identity("admin", &config.admin)?];
    let tasks = &core.tasks;
    core.service.join_replicas().await.map_err(StartError::Join)?;
    upkeep::every_second(&core.service, tasks);
    upkeep::every_minute(&core.service, tasks);
    for (listener, settings, identity, plane) in [
        (grpc, &config.grpc, &identities[0], Plane::Serving),
        (admin, &config.admin, &identities[1], Plane::Admin),
    ] {
        let door = grpc::Door::new(core.service.clone(), core.callers.clone(), core.clock.clone());
        let tls = identity.as_ref().map(grpc::Identity::door).transpose();
        let tls = tls.map_err(|why| StartError::Tls { field: "grpc", why: why.to_string() })?;
        let (reflection, of_door) = (settings.reflection, tasks.clone());
        drop(tasks.spawn(async move {
            let served = grpc::serve(listener, tls, (door, plane, reflection), &of_door).await;
            if let Err(error) = served {
                tracing::error!(%error, "a gRPC door closed");
                of_door.stop();
            }
        }));
    }
    let door = http::Door {
        service: core.service.clone(),
        settings: config.http.clone(),
        entropy: core.entropy.clone(),
    };
    let of_web = tasks.clone();
    drop(tasks.spawn(async move { http::serve(web, door, &of_web).await }));
    drop(tasks.spawn(scheduler::run(core.service.clone(), tasks.clone())));
    Ok(identities)
}

/// The signals the broker answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for a signal to stop; reloads certificates at SIGHUP.
async fn until_told(mut signals: Signals, tasks: &Tasks, identities: &[Option<grpc::Identity>; 2]) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            () = tasks.stopping() => break,
            _ = signals.hangup.recv() => reload(identities),
        }
    }
    tracing::info!("stopping: no new calls, waiting for those in flight");
}

fn reload(identities: &[Option<grpc::Identity>; 2]) {
    for identity in identities.iter().flatten() {
        match identity.reload() {
            Ok(()) => tracing::info!("a certificate was read again"),
            Err(error) => tracing::error!(%error, "a certificate stays as it was"),
        }
    }
}

async fn listen(field: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen {
        field,
        address,
        why: error.to_string(),
    })
}

fn identity(
    field: &'static str,
    settings: &GrpcSettings,
) -> Result<Option<grpc::Identity>, StartError> {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = settings.tls.as_ref().map(|files| grpc::Identity::read(files, crypto));
    identity.transpose().map_err(|why| StartError::Tls { field, why: why.to_string() })
}

fn announce(config: &Config, public_url: &Url) {
    tracing::info!(
        grpc = %config.grpc.address, admin = %config.admin.address, http = %config.http.address,
        ops = %config.ops, %public_url, version = env!("CARGO_PKG_VERSION"), "serving"
    );
}
