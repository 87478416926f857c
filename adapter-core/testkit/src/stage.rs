//! An adapter before its broker, as most tests want it.
//!
//! Never decides what a mail server does. Invariant: listeners take a free port of loopback. Next: `client` for talking to it.

use std::net::SocketAddr;

use adapter_core::adapter::Adapter;
use adapter_core::dialogue::{Mechanism, Protocol, Upstream};
use adapter_core::limits::Limits;
use adapter_core::settings::{
    ListenerSettings, ListenerTls, LogSettings, NAMELESS, Settings, UpstreamSettings,
};
use token_broker_client::Options;
use tokenbroker_proto::v1::MailProtocol;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::broker::{Broker, KEY, USER};

/// Starts a broker that sends everybody to `server`, and an adapter before it; `change` has the last word on the settings.
pub async fn start<P: Protocol>(
    protocol: P,
    server: SocketAddr,
    change: impl FnOnce(&mut Settings),
) -> (Adapter, Broker) {
    let speaks = if P::NAME == "imap" { MailProtocol::Imap } else { MailProtocol::Smtp };
    let broker = Broker::new(speaks, server);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap());
    broker.serve(listener);
    change(&mut settings);
    (Adapter::start(protocol, settings).await.unwrap(), broker)
}

/// One plain listener, a broker at `broker`, defaults.
pub fn settings(broker: SocketAddr) -> Settings {
    Settings {
        server_name: "localhost".to_owned(),
        listeners: vec![listener(ListenerTls::Plain)],
        certificate: None,
        broker: Options::new(format!("http://{broker}")).api_key(KEY),
        upstream: UpstreamSettings::default(),
        ops: None,
        limits: Limits::default(),
        log: LogSettings { json: false, filter: "off".to_owned() },
    }
}

/// A listener on a free port.
pub fn listener(tls: ListenerTls) -> ListenerSettings {
    ListenerSettings { address: "127.0.0.1:0".parse().unwrap(), tls, proxy_protocol: None }
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// What XOAUTH2 sends for the user that the broker names.
pub fn xoauth2(token: &str) -> String {
    let upstream = Upstream {
        host: String::new(),
        port: 0,
        starttls: false,
        helo_name: NAMELESS.to_owned(),
        user: USER.to_owned(),
        secret: Zeroizing::new(token.to_owned()),
        mechanisms: vec![],
        initial_response: true,
        probe_after_login: false,
    };
    adapter_core::sasl::client_response(Mechanism::XOauth2, &upstream).unwrap().to_string()
}
