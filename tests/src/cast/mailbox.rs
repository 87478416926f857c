//! Fake IMAP and SMTP submission servers over one in-memory mail store.
//!
//! They accept only bearer tokens that the provider's truth calls live and of that user: a broker that mixes up tokens
//! cannot get through. They listen on 127.0.0.1 only. The walk: [`door`] decides, [`store`] holds the mail, [`imap`] and
//! [`smtp`] speak; what they are told lives in [`settings`].

pub mod door;
pub mod imap;
pub mod sasl;
pub mod settings;
pub mod smtp;
pub mod store;
pub mod wire;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::background::{Background, Spawner};
use super::ca::TestCa;
use super::provider::Truth;
use door::{Door, LoginRecord, MailStats, Protocol};
use settings::{MailboxSettings, Trouble};
use store::MailStore;
use wire::Wire;

/// Running mail servers; dropping them stops them.
#[derive(Debug)]
pub struct Mailbox {
    door: Door,
    addresses: Addresses,
    background: Background,
}

/// Where the servers listen.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// IMAP, plain with STARTTLS.
    pub imap: SocketAddr,
    /// IMAP with implicit TLS.
    pub imaps: SocketAddr,
    /// SMTP submission, plain with STARTTLS.
    pub smtp: SocketAddr,
    /// SMTP submission with implicit TLS.
    pub smtps: SocketAddr,
}

impl Mailbox {
    /// Starts all four servers with certificates of `ca`, believing `truth`.
    ///
    /// # Errors
    /// A port is taken.
    pub async fn start(settings: MailboxSettings, truth: Truth, ca: &TestCa) -> Result<Self> {
        let ports = settings.ports;
        let tls = TlsAcceptor::from(ca.server_config()?);
        let door = Door::new(settings, truth);
        let background = Background::default();
        let host = |protocol, implicit_tls| Host {
            door: door.clone(),
            tls: tls.clone(),
            protocol,
            implicit_tls,
            spawner: background.spawner(),
        };
        let addresses = Addresses {
            imap: host(Protocol::Imap, false).listen(ports.imap).await?,
            imaps: host(Protocol::Imap, true).listen(ports.imaps).await?,
            smtp: host(Protocol::Smtp, false).listen(ports.smtp).await?,
            smtps: host(Protocol::Smtp, true).listen(ports.smtps).await?,
        };
        Ok(Self { door, addresses, background })
    }

    /// Where they listen. Their certificates are for `localhost`, `127.0.0.1` and `::1`.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The mail.
    pub fn store(&self) -> MailStore {
        self.door.store.clone()
    }

    /// Puts a mail into a user's inbox.
    ///
    /// # Errors
    /// A bound of the store is reached.
    pub fn deliver(&self, user: &str, mail: &str) -> Result<u32> {
        let now = self.door.now_ms();
        let refused = |refusal| anyhow::anyhow!("mail for {user} refused: {refusal:?}");
        self.door
            .store
            .append(user, "INBOX", BTreeSet::new(), now, mail.as_bytes())
            .map_err(refused)
    }

    /// Makes trouble so often (for ever, if `None`).
    pub fn trouble(&self, trouble: Trouble, times: Option<u32>) {
        self.door.make_trouble(trouble, times);
    }

    /// Ends all trouble.
    pub fn end_trouble(&self) {
        self.door.end_trouble();
    }

    /// Changes settings while they run; sessions under way may keep the old ones.
    pub fn change(&self, change: impl FnOnce(&mut MailboxSettings)) {
        self.door.change(change);
    }

    /// The numbers, at this moment.
    pub fn stats(&self) -> MailStats {
        self.door.stats()
    }

    /// Every try to log in, oldest first.
    pub fn logins(&self) -> Vec<LoginRecord> {
        self.door.logins()
    }

    /// Stops them and waits until their ports are free again.
    pub async fn stop(self) {
        self.background.stop().await;
    }
}

/// One listener.
#[derive(Clone)]
struct Host {
    door: Door,
    tls: TlsAcceptor,
    protocol: Protocol,
    implicit_tls: bool,
    spawner: Spawner,
}

impl Host {
    async fn listen(self, port: u16) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("listen on 127.0.0.1:{port}"))?;
        let address = listener.local_addr()?;
        let spawner = self.spawner.clone();
        spawner.spawn(async move { self.accept(listener).await });
        Ok(address)
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let host = self.clone();
                    self.spawner.spawn(async move { host.serve(stream).await });
                }
                // Out of file descriptors, most likely: wait until some come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        self.door.count(|stats| {
            stats.connections += 1;
            stats.open += 1;
        });
        let _leaving = Leaving(self.door.clone());
        // How a session ends is the client's affair; what matters is in the door's records.
        drop(self.converse(stream).await);
    }

    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut wire = Wire::plain(stream);
        if self.implicit_tls {
            wire = wire.start_tls(&self.tls).await?;
            self.door.count(|stats| stats.tls += 1);
        }
        match self.protocol {
            Protocol::Imap => imap::serve(wire, &self.door, &self.tls).await,
            Protocol::Smtp => smtp::serve(wire, &self.door, &self.tls).await,
        }
    }
}

struct Leaving(Door);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.count(|stats| stats.open -= 1);
    }
}
