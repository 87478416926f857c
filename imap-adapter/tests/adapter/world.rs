//! An adapter between its broker and its server, and a client to talk to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adapter_core::adapter::Adapter;
use adapter_core::limits::Limits;
use adapter_core::settings::{
    BrokerSettings, ListenerSettings, ListenerTls, LogSettings, Settings,
};
use adapter_core::tls::CertificateFiles;
use imap_adapter::Imap;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::broker::{Broker, CREDENTIAL, KEY, NAME};
use crate::server::{Manners, Server};

/// Nothing here takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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
        let broker = Broker::new(server.address);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(listener.local_addr().unwrap());
        broker.serve(listener);
        change(&mut settings);
        let adapter = Adapter::start(Imap, settings).await.unwrap();
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

pub(crate) fn settings(broker: SocketAddr) -> Settings {
    Settings {
        server_name: "localhost".to_owned(),
        listeners: vec![listener(ListenerTls::Plain)],
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

pub(crate) fn listener(tls: ListenerTls) -> ListenerSettings {
    ListenerSettings { address: "127.0.0.1:0".parse().unwrap(), tls, proxy_protocol: None }
}

/// A certificate for localhost and the folder it lies in.
pub(crate) struct Identity {
    folder: tempfile::TempDir,
    pub(crate) pair: CertifiedKey<KeyPair>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let identity = Self { folder: tempfile::tempdir().unwrap(), pair: pair() };
        identity.write();
        identity
    }

    /// Another certificate takes the place of the first.
    pub(crate) fn renew(&mut self) {
        self.pair = pair();
        self.write();
    }

    fn write(&self) {
        std::fs::write(self.file("cert.pem"), self.pair.cert.pem()).unwrap();
        std::fs::write(self.file("key.pem"), self.pair.signing_key.serialize_pem()).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: self.file("cert.pem"), key: self.file("key.pem") }
    }

    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let key = self.pair.signing_key.serialize_der();
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key);
        crate::server::acceptor(self.pair.cert.der().clone(), key.into())
    }

    /// As a client that trusts this certificate and no other.
    pub(crate) fn connector(&self) -> tokio_rustls::TlsConnector {
        adapter_core::tls::connector(Some(&self.file("cert.pem"))).unwrap()
    }
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

/// Talks line by line, and never waits for ever.
pub(crate) struct Client<S>(pub(crate) S);

impl Client<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn secure(
        self,
        identity: &Identity,
    ) -> std::io::Result<Client<tokio_rustls::client::TlsStream<TcpStream>>> {
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let handshake = identity.connector().connect(name, self.0);
        timeout(PATIENCE, handshake).await.unwrap().map(Client)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next line without CR LF; empty at the end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = vec![];
        while !line.ends_with(b"\r\n") {
            match timeout(PATIENCE, self.0.read_u8()).await.expect("a line in time") {
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = vec![];
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("an end in time");
        rest
    }
}

/// Waits until `what` holds; for things that happen in other tasks.
pub(crate) async fn eventually(what: impl Fn() -> bool) {
    let poll = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, poll).await.expect("it to happen in time");
}
