//! An adapter between its broker and its server, and a client to talk to it.

use adapter_core::adapter::Adapter;
use adapter_core::settings::Settings;
use adapter_testkit::{Broker, CREDENTIAL, Client, NAME, start};
use imap_adapter::Imap;
use tokio::net::TcpStream;

use crate::server::{Manners, Server};

pub(crate) struct World {
    pub(crate) adapter: Adapter,
    pub(crate) broker: Broker,
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn new(manners: Manners) -> Self {
        Self::with(manners, |_| {}).await
    }

    /// Lets `change` the settings before the adapter starts.
    pub(crate) async fn with(manners: Manners, change: impl FnOnce(&mut Settings)) -> Self {
        let server = Server::start(manners).await;
        let (adapter, broker) = start(Imap, server.address, change).await;
        Self { adapter, broker, server }
    }

    pub(crate) async fn client(&self) -> Client<TcpStream> {
        Client::connect(self.adapter.addresses[0]).await
    }

    /// A client that has logged in with the right credential.
    pub(crate) async fn logged_in(&self) -> Client<TcpStream> {
        let mut client = self.client().await;
        client.line().await;
        client.say(&login()).await;
        let answer = client.line().await;
        assert!(answer.starts_with("a OK "), "{answer}");
        client
    }
}

pub(crate) fn login() -> String {
    format!("a LOGIN {NAME} {CREDENTIAL}\r\n")
}
