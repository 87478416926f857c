//! Channels to the brokers: which endpoint is asked first, and which one works.
//!
//! Never sends anything itself. Invariant: the endpoint that worked last is asked first, so a lost broker costs one
//! failed dial and not one per call. Next: `door` sends calls through here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::codegen::http::HeaderValue;
use tonic::transport::Channel;

use crate::connector::Dialler;
use crate::door::Door;
use crate::errors::Error;
use crate::options::Options;

/// The way to one or more equal brokers, with our API key. Clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    endpoints: Vec<Line>,
    first: AtomicUsize,
    next: AtomicUsize,
    key: HeaderValue,
    deadline: Duration,
}

struct Line {
    name: String,
    channels: Vec<Channel>,
}

impl Connection {
    /// Checks the options and makes channels that dial when first used: a broker that is away now is no error here.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong and what to do.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let checked = options.checked()?;
        let line = |endpoint: tonic::transport::Endpoint| {
            let dialler = Dialler::new(options.connect_timeout);
            let dial = || endpoint.connect_with_connector_lazy(dialler.clone());
            Line {
                name: endpoint.uri().to_string(),
                channels: std::iter::repeat_with(dial).take(options.connections).collect(),
            }
        };
        Ok(Self(Arc::new(Shared {
            endpoints: checked.endpoints.into_iter().map(line).collect(),
            first: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            key: checked.key,
            deadline: options.deadline,
        })))
    }

    /// What the generated clients of [`v1`](crate::v1) take as their transport: adds the API key and a deadline, and
    /// goes to the next endpoint when one cannot be reached.
    pub fn door(&self) -> Door {
        Door::new(self.clone())
    }

    /// How long a call may take unless it says otherwise.
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    pub(crate) fn key(&self) -> &HeaderValue {
        &self.0.key
    }

    pub(crate) fn count(&self) -> usize {
        self.0.endpoints.len()
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
        &self.0.endpoints[at].name
    }

    /// One of the endpoint's channels, in turn.
    pub(crate) fn channel(&self, at: usize) -> Channel {
        let channels = &self.0.endpoints[at].channels;
        channels[self.0.next.fetch_add(1, Ordering::Relaxed) % channels.len()].clone()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.endpoints.iter().map(|line| &line.name).collect();
        f.debug_struct("Connection").field("endpoints", &names).finish_non_exhaustive()
    }
}
