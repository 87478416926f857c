//! Builds every part of an adapter, and is the one place that knows all of them.
//!
//! Never opens a door before everything behind it stands. Invariant: [`Adapter::stop`] leaves no connection cut in the middle of
//! an answer as long as it ends within `limits.drain`. Next: `listen` lets clients in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::connection::Door;
use crate::dialogue::Protocol;
use crate::limits::Gate;
use crate::listen::{ListenError, accept, bind};
use crate::login::{Desk, Parts};
use crate::metrics::Metrics;
use crate::ops::{self, Ops};
use crate::relay::Pool;
use crate::report::Reporter;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::tls::{self, ServerTls, TlsError};
use crate::upstream::Dialler;
use crate::watch::{Register, Watch};

/// What is given to connections beyond `limits.drain` at a stop: the time to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(3);

/// Why an adapter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates or roots.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The broker's endpoints, key or certificate authority.
    #[error("broker: {0}")]
    Broker(#[from] token_broker_client::Error),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// A running adapter.
pub struct Adapter {
    /// Where clients come in, in the order of the settings, with the ports the system chose for `:0`.
    pub addresses: Vec<SocketAddr>,
    /// Where health and metrics are.
    pub ops: Option<SocketAddr>,
    parts: Parts,
    tls: Option<ServerTls>,
}

impl Adapter {
    /// Checks what can be checked without opening a port and is not already in [`Settings`].
    ///
    /// # Errors
    /// Certificates and roots that cannot be used.
    pub fn check(settings: &Settings) -> Result<(), StartError> {
        settings.certificate.clone().map(ServerTls::load).transpose()?;
        tls::connector(settings.upstream.ca_file.as_deref())?;
        Ok(())
    }

    /// Starts; clients are served when this returns. The broker need not be there yet.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start<P: Protocol>(protocol: P, settings: Settings) -> Result<Self, StartError> {
        let tls = settings.certificate.clone().map(ServerTls::load).transpose()?;
        let metrics = Metrics::new(P::NAME);
        let connector = tls::connector(settings.upstream.ca_file.as_deref())?;
        let parts = Parts {
            broker: Broker::new(&settings.broker, metrics.clone()).await?,
            dialler: Dialler::new(connector, settings.upstream.helo_name.clone(), settings.limits),
            reporter: Reporter::default(),
            register: Register::default(),
            metrics,
            tasks: Tasks::default(),
            limits: settings.limits,
        };
        let mut listeners = Vec::with_capacity(settings.listeners.len());
        for listener in &settings.listeners {
            listeners.push(bind("listener.address", listener.address).await?);
        }
        let ops = match settings.ops {
            Some(address) => Some(bind("ops.address", address).await?),
            None => None,
        };
        let mut adapter = Self { addresses: vec![], ops: None, parts, tls };
        adapter.ops = ops.and_then(|listener| adapter.show(listener));
        adapter.open(protocol, settings, listeners);
        Ok(adapter)
    }

    fn show(&self, listener: TcpListener) -> Option<SocketAddr> {
        let address = listener.local_addr().ok();
        let Parts { broker, metrics, tasks, .. } = self.parts.clone();
        self.parts.tasks.spawn(ops::serve(listener, Ops { broker, metrics, tasks }));
        address
    }

    fn open<P: Protocol>(&mut self, protocol: P, settings: Settings, listeners: Vec<TcpListener>) {
        let Parts { broker, reporter, register, tasks, metrics, .. } = self.parts.clone();
        let orphan_ttl = settings.limits.orphan_ttl;
        let watch =
            Watch::new(broker.clone(), register, (metrics.clone(), tasks.clone()), orphan_ttl);
        tasks.spawn(watch.clone().run());
        tasks.spawn(watch.guard());
        tasks.spawn(reporter.run(broker, tasks.clone()));
        let desk = Arc::new(Desk::new(protocol, self.parts.clone()));
        let (gate, pool) = (Gate::new(settings.limits), Pool::default());
        for (listener, its) in listeners.into_iter().zip(settings.listeners) {
            let address = listener.local_addr().unwrap_or(its.address);
            info!(%address, tls = ?its.tls, protocol = P::NAME, "listening");
            self.addresses.push(address);
            let door = Door {
                desk: Arc::clone(&desk),
                listener: its,
                tls: self.tls.clone(),
                server_name: settings.server_name.clone(),
                gate: gate.clone(),
                pool: pool.clone(),
                metrics: metrics.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(accept(listener, Arc::new(door)));
        }
    }

    /// Reads the certificate again; the old one stays if the new one cannot be used.
    pub fn reload(&self) {
        match self.tls.as_ref().map(ServerTls::reload) {
            None => info!("nothing to reload: no certificate is configured"),
            Some(Ok(())) => info!("the certificate was reloaded"),
            Some(Err(error)) => warn!(%error, "the old certificate stays in use"),
        }
    }

    /// Stops: nobody is let in, whoever is not logged in is told good-bye, sessions may finish their answers. True if
    /// all of them did.
    pub async fn stop(self) -> bool {
        let grace = self.parts.limits.drain + GOOD_BYE;
        let finished = self.parts.tasks.drain(grace).await;
        self.parts.reporter.finish(&self.parts.broker).await;
        finished
    }
}
