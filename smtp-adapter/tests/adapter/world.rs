//! An adapter between its broker and its server, and a client to talk to it.

use std::net::SocketAddr;
use std::time::Duration;

use adapter_core::adapter::Adapter;
use adapter_core::limits::Limits;
use adapter_core::settings::{
    BrokerSettings, ListenerSettings, ListenerTls, LogSettings, Settings,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smtp_adapter::Smtp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::broker::{Broker, CREDENTIAL, KEY, NAME};
use crate::server::{Manners, Server};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) adapter: Adapter,
    pub(crate) broker: Broker,
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn new(manners: Manners) -> Self {
        let server = Server::start(manners).await;
        let broker = Broker::new(server.address);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = settings(listener.local_addr().unwrap());
        broker.serve(listener);
        let adapter = Adapter::start(Smtp::new(), settings).await.unwrap();
        Self { adapter, broker, server }
    }

    /// A client that was greeted.
    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.adapter.addresses[0]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client(stream);
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

fn settings(broker: SocketAddr) -> Settings {
    Settings {
        server_name: "localhost".to_owned(),
        listeners: vec![ListenerSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            tls: ListenerTls::Plain,
            proxy_protocol: None,
        }],
        certificate: None,
        broker: BrokerSettings {
            endpoints: vec![format!("http://{broker}")],
            key: Zeroizing::new(KEY.to_owned()),
            ca_pem: None,
        },
        upstream_ca_file: None,
        ops: None,
        limits: Limits::default(),
        log: LogSettings { json: false, filter: "off".to_owned() },
    }
}

/// Talks reply by reply, and never waits for ever.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next reply with all its lines; what there is of it at the end.
    pub(crate) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = timeout(PATIENCE, self.line()).await.expect("a line in time");
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = vec![];
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("an end in time");
        String::from_utf8(rest).unwrap()
    }

    async fn line(&mut self) -> String {
        let mut line = vec![];
        while !line.ends_with(b"\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(line).unwrap()
    }
}
