//! Channels to the brokers: which endpoint is asked first, and which one works.
//!
//! Never sends anything itself. Invariant: the endpoint that worked last is asked first, so a lost broker costs one
//! failed dial and not one per call. Next: `door` sends calls through here.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use tonic::codegen::http::HeaderValue;
use tonic::transport::{Channel, Endpoint};

use crate::connector::Dialler;
use crate::door::Door;
use crate::errors::Error;
use crate::key::Bearer;
use crate::options::Options;

/// The way to one or more equal brokers, with our API key. Clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    names: Vec<String>,
    lines: RwLock<Arc<Vec<Line>>>,
    renewal: Option<Renewal>,
    first: AtomicUsize,
    next: AtomicUsize,
    bearer: Bearer,
    deadline: Duration,
}

/// Watches the file of the client certificate.
struct Renewal {
    options: Options,
    file: PathBuf,
    seen: Mutex<(Instant, Option<SystemTime>)>,
}

/// How soon the file is looked at again.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

struct Line {
    channels: Vec<Channel>,
}

impl Line {
    fn new(endpoint: &Endpoint, options: &Options) -> Self {
        let dialler = Dialler::new(options.connect_timeout);
        let dial = || endpoint.connect_with_connector_lazy(dialler.clone());
        Self { channels: std::iter::repeat_with(dial).take(options.connections).collect() }
    }
}

impl Renewal {
    fn of(options: &Options) -> Option<Self> {
        let file = options.certificate_file()?.to_path_buf();
        let seen = Mutex::new((Instant::now(), changed_at(&file)));
        Some(Self { options: options.clone(), file, seen })
    }

    /// New lines, if the certificate's file has changed since the last look and can be used.
    fn lines(&self) -> Option<Vec<Line>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.elapsed() < BETWEEN_LOOKS {
            return None;
        }
        let (before, now) = (seen.1, changed_at(&self.file));
        seen.0 = Instant::now();
        if now == before {
            return None;
        }
        match self.options.dialables() {
            Ok(endpoints) => {
                seen.1 = now;
                Some(endpoints.iter().map(|one| Line::new(one, &self.options)).collect())
            }
            Err(error) => {
                tracing::warn!(%error, "the client certificate changed and cannot be used");
                None
            }
        }
    }
}

fn changed_at(file: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

impl Connection {
    /// Checks the options and makes channels that dial when first used: a broker that is away now is no error here.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong and what to do.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let checked = options.checked()?;
        let lines: Vec<_> = checked.endpoints.iter().map(|one| Line::new(one, options)).collect();
        Ok(Self(Arc::new(Shared {
            names: checked.endpoints.iter().map(|one| one.uri().to_string()).collect(),
            lines: RwLock::new(Arc::new(lines)),
            renewal: Renewal::of(options),
            first: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            bearer: checked.bearer,
            deadline: options.deadline,
        })))
    }

    /// What the generated clients of [`v1`](crate::v1) take as their transport: adds the API key or token and a deadline, and
    /// goes to the next endpoint when one cannot be reached.
    pub fn door(&self) -> Door {
        Door::new(self.clone())
    }

    /// How long a call may take unless it says otherwise.
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// What the next call shows, but for the certificate.
    pub(crate) fn bearer(&self) -> Result<Option<HeaderValue>, Error> {
        self.0.bearer.header()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.names.len()
    }

    /// The endpoint to ask first.
    pub(crate) fn first(&self) -> usize {
        self.0.first.load(Ordering::Relaxed)
    }

    /// Asks another one first from now on, if `at` is still the one asked first.
    pub(crate) fn leave(&self, at: usize) {
        let next = (at + 1) % self.count();
        let _ = self.0.first.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn name(&self, at: usize) -> &str {
        &self.0.names[at]
    }

    /// One of the endpoint's channels, in turn.
    pub(crate) fn channel(&self, at: usize) -> Channel {
        if let Some(lines) = self.0.renewal.as_ref().and_then(Renewal::lines) {
            *self.0.lines.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lines);
        }
        let lines = Arc::clone(&self.0.lines.read().unwrap_or_else(PoisonError::into_inner));
        let channels = &lines[at].channels;
        channels[self.0.next.fetch_add(1, Ordering::Relaxed) % channels.len()].clone()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("endpoints", &self.0.names).finish_non_exhaustive()
    }
}
