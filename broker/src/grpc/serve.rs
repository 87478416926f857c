//! A gRPC server: which services a door has, and the bounds on every call.
//!
//! Never serves the admin plane at the services' door. Invariant: every message, stream, connection and wait is bounded.
//! Next: `authenticate.rs`, then the service's own file.

use std::net::SocketAddr;
use std::time::Duration;

use tokenbroker_proto::v1::account_service_server::AccountServiceServer;
use tokenbroker_proto::v1::app_service_server::AppServiceServer;
use tokenbroker_proto::v1::audit_service_server::AuditServiceServer;
use tokenbroker_proto::v1::caller_service_server::CallerServiceServer;
use tokenbroker_proto::v1::consent_service_server::ConsentServiceServer;
use tokenbroker_proto::v1::credential_service_server::CredentialServiceServer;
use tokenbroker_proto::v1::key_service_server::KeyServiceServer;
use tokenbroker_proto::v1::mail_login_service_server::MailLoginServiceServer;
use tokenbroker_proto::v1::session_service_server::SessionServiceServer;
use tokenbroker_proto::v1::system_service_server::SystemServiceServer;
use tokenbroker_proto::v1::token_service_server::TokenServiceServer;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Error, Server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::listen::{DoorTls, incoming};
use super::measure::Measure;
use super::room::Room;
use super::tls::TlsFiles;
use crate::callers::Callers;
use crate::clock::{Clock, Time};
use crate::service::{Drain, Service};
use crate::tasks::Tasks;

/// The largest message either way.
const MESSAGE: usize = 64 * 1024;

/// The longest any call may take, whatever deadline its caller set.
const CALL: Duration = Duration::from_secs(30);

/// Calls at once on one connection.
const STREAMS: u32 = 128;

/// A connection ends after this, so that a replaced certificate or a moved broker is noticed.
const CONNECTION_AGE: Duration = Duration::from_secs(15 * 60);

/// A gRPC door.
#[derive(Clone, Debug)]
pub struct GrpcSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// Certificate and key; without them the door speaks plain text, on loopback only.
    pub tls: Option<TlsFiles>,
    /// Whether gRPC reflection is offered. Default no.
    pub reflection: bool,
}

/// What every method of every service needs.
#[derive(Clone, Debug)]
pub struct Door {
    pub(super) service: Service,
    pub(super) callers: Callers,
    pub(super) clock: Clock,
    pub(super) started_at: Time,
}

/// Which services a door has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Tokens and mail logins: for services and adapters.
    Serving,
    /// All of it: for operators.
    Admin,
}

impl Door {
    /// A door to these verbs for these callers.
    pub fn new(service: Service, callers: Callers, clock: Clock) -> Self {
        let started_at = clock.now();
        Self { service, callers, clock, started_at }
    }
}

/// Serves one plane at one listener until the tasks stop and the calls in flight have ended.
///
/// # Errors
/// If the server cannot go on.
pub async fn serve(
    listener: TcpListener,
    tls: Option<DoorTls>,
    (door, plane, reflection): (Door, Plane, bool),
    tasks: &Tasks,
) -> Result<(), Error> {
    let (room, drain) = (Room::before(&door.service), door.service.drain().clone());
    let (routes, health) = routes(door, plane, reflection).await;
    drop(tasks.spawn(tell_health(health, drain, tasks.clone())));
    let connections = incoming(listener, tls, tasks);
    Server::builder()
        .timeout(CALL)
        .concurrency_limit_per_connection(STREAMS as usize)
        .max_concurrent_streams(STREAMS)
        .max_connection_age(CONNECTION_AGE)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .http2_max_header_list_size(16 * 1024)
        .layer(Measure)
        .layer(room)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, tasks.stopping())
        .await
}

/// Keeps the health of what can be drained true.
async fn tell_health(health: HealthReporter, drain: Drain, tasks: Tasks) {
    let mut changes = drain.changes();
    loop {
        tokio::select! {
            () = tasks.stopping() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        if *changes.borrow_and_update() {
            health.set_not_serving::<TokenServiceServer<Door>>().await;
            health.set_not_serving::<MailLoginServiceServer<Door>>().await;
            health.set_service_status("", ServingStatus::NotServing).await;
        } else {
            health.set_serving::<TokenServiceServer<Door>>().await;
            health.set_serving::<MailLoginServiceServer<Door>>().await;
            health.set_service_status("", ServingStatus::Serving).await;
        }
    }
}

async fn routes(door: Door, plane: Plane, reflection: bool) -> (Routes, HealthReporter) {
    macro_rules! bounded {
        ($server:ident) => {
            $server::new(door.clone())
                .max_decoding_message_size(MESSAGE)
                .max_encoding_message_size(16 * MESSAGE)
        };
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TokenServiceServer<Door>>().await;
    health.set_serving::<MailLoginServiceServer<Door>>().await;
    let mut routes = Routes::new(health_service)
        .add_service(bounded!(TokenServiceServer))
        .add_service(bounded!(MailLoginServiceServer));
    if plane == Plane::Admin {
        health.set_serving::<AppServiceServer<Door>>().await;
        health.set_serving::<AccountServiceServer<Door>>().await;
        health.set_serving::<ConsentServiceServer<Door>>().await;
        health.set_serving::<CredentialServiceServer<Door>>().await;
        health.set_serving::<CallerServiceServer<Door>>().await;
        health.set_serving::<AuditServiceServer<Door>>().await;
        health.set_serving::<SessionServiceServer<Door>>().await;
        health.set_serving::<SystemServiceServer<Door>>().await;
        health.set_serving::<KeyServiceServer<Door>>().await;
        routes = routes
            .add_service(bounded!(AppServiceServer))
            .add_service(bounded!(AccountServiceServer))
            .add_service(bounded!(ConsentServiceServer))
            .add_service(bounded!(CredentialServiceServer))
            .add_service(bounded!(CallerServiceServer))
            .add_service(bounded!(AuditServiceServer))
            .add_service(bounded!(SessionServiceServer))
            .add_service(bounded!(SystemServiceServer))
            .add_service(bounded!(KeyServiceServer));
    }
    if reflection {
        let described = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tokenbroker_proto::FILE_DESCRIPTOR_SET)
            .build_v1();
        match described {
            Ok(service) => routes = routes.add_service(service),
            Err(error) => tracing::error!(%error, "reflection is not offered"),
        }
    }
    (routes.prepare(), health)
}
