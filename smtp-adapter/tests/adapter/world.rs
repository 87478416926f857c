//! An adapter between its broker and its server, and a client to talk to it.

use adapter_core::adapter::Adapter;
use adapter_core::settings::Settings;
use adapter_testkit::{Broker, CREDENTIAL, Client, NAME, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smtp_adapter::Smtp;
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
        let (adapter, broker) = start(Smtp, server.address, change).await;
        Self { adapter, broker, server }
    }

    /// A client that was greeted.
    pub(crate) async fn client(&self) -> Client<TcpStream> {
        let mut client = Client::connect(self.adapter.addresses[0]).await;
        assert_eq!(client.reply().await, "220 localhost ESMTP ready\r\n");
        client
    }
}

/// EHLO and AUTH with the right credential.
pub(crate) fn login() -> String {
    login_with(CREDENTIAL)
}

pub(crate) fn login_with(credential: &str) -> String {
    format!("EHLO client\r\nAUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{NAME}\0{credential}")))
}

/// A client that knows where a reply of several lines ends.
pub(crate) trait Replies {
    /// The next reply with all its lines; what there is of it at the end.
    async fn reply(&mut self) -> String;
}

impl Replies for Client<TcpStream> {
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = self.raw_line().await;
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }
}
