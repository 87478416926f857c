//! The world: the product's real processes with somebody to play opposite, all on loopback.
//!
//! [`House`] is the product alone; [`World`] adds the fake cast and one app, which is what most tests want;
//! [`real::Real`] puts a house beside real servers. Invariant: what a world started is gone when it is dropped, and
//! a test that fails shows the last lines of every log. Walk on in [`house`].

pub mod application;
pub mod binaries;
mod builder;
pub mod clients;
pub mod command;
pub mod crowd;
pub mod doors;
pub mod engine;
pub mod evidence;
pub mod fixture;
pub mod house;
pub mod ledger;
pub mod operator;
pub mod owner;
pub mod ports;
pub mod process;
pub mod real;
pub mod replica;
mod settings;
pub mod stack;
pub mod timelapse;

use std::time::Duration;

use anyhow::Result;
use token_broker_client::{Options, TokenBroker, v1};

pub use application::Application;
pub use builder::Builder;
pub use clients::{Client, Wire, letter};
pub use engine::Engine;
pub use fixture::Fixture;
pub use house::{House, Plan};
pub use ledger::Ledger;
pub use operator::Operator;
pub use owner::Owner;
pub use timelapse::Timelapse;

use crate::cast::ca::TestCa;
use crate::cast::mailbox::Mailbox;
use crate::cast::provider::Provider;
use crate::cast::speaker::Speaker;

/// A mailbox of the cast.
pub const ALICE: &str = "alice@example.test";
/// Another one.
pub const BOB: &str = "bob@example.test";
/// The id of the app that a world comes with.
pub const APP: &str = "fake";

/// How long a service waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A house beside the fake cast, with one app registered.
#[derive(Debug)]
pub struct World {
    /// The product.
    pub house: House,
    /// The fake mail servers.
    pub mailbox: Mailbox,
    /// The fake provider.
    pub provider: Provider,
    /// The authority that signed everybody's certificates.
    pub ca: TestCa,
    /// The first administrator.
    pub operator: Operator,
    ended: bool,
}

impl World {
    /// Says how it shall be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The usual one, on SQLite.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Registers the provider's first app under `id`, with what `app` does not say filled in.
    ///
    /// # Errors
    /// The broker refuses it.
    pub async fn register(&self, id: &str, app: v1::App) -> Result<v1::App> {
        let mut app = own_app(&self.provider, app);
        if app.mail_hosts.is_empty() {
            app.mail_hosts = self.mail_hosts();
        }
        self.operator.register(id, app, &self.provider.client_secret()).await
    }

    /// The fake mail servers as an app names them: IMAP with TLS, SMTP with STARTTLS.
    pub fn mail_hosts(&self) -> Vec<v1::MailHost> {
        let addresses = self.mailbox.addresses();
        let host = |protocol: v1::MailProtocol, port: u16, tls: v1::TlsMode| v1::MailHost {
            protocol: protocol.into(),
            host: "localhost".to_owned(),
            port: port.into(),
            tls: tls.into(),
        };
        vec![
            host(v1::MailProtocol::Imap, addresses.imaps.port(), v1::TlsMode::Implicit),
            host(v1::MailProtocol::Smtp, addresses.smtp.port(), v1::TlsMode::Starttls),
        ]
    }

    /// Connects `mailbox` by an invitation that its owner accepts; the account.
    ///
    /// # Errors
    /// Somebody refuses.
    pub async fn connect(&self, mailbox: &str) -> Result<v1::Account> {
        self.operator.connect(APP, mailbox).await
    }

    /// A service with the right to every account's mail, that asks the broker every time.
    ///
    /// # Errors
    /// The broker refuses to make it.
    pub async fn service(&self, id: &str) -> Result<TokenBroker> {
        self.tokens(&self.operator.service_key(id).await?).await
    }

    /// The same, at every broker.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub async fn service_everywhere(&self, id: &str) -> Result<Vec<TokenBroker>> {
        let key = self.operator.service_key(id).await?;
        let mut all = Vec::new();
        for broker in self.house.replicas() {
            all.push(tokens_at(broker.doors(), &key).await?);
        }
        Ok(all)
    }

    /// Whoever has `key`, at the door for services, without a cache.
    ///
    /// # Errors
    /// The key is none.
    pub async fn tokens(&self, key: &str) -> Result<TokenBroker> {
        tokens_at(self.house.doors(), key).await
    }

    /// A connected mailbox and an ordinary client with a password for it.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn client(&self, mailbox: &str) -> Result<Client> {
        let account = self.connect(mailbox).await?;
        let (_, password) = self.operator.credential(&account.name, |_| {}).await?;
        Client::new(&self.house, mailbox, &password)
    }

    /// A connection to the adapter for `protocol`, in clear, before its greeting.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn speak(&self, protocol: &str) -> Result<Speaker> {
        Speaker::connect(self.house.adapter(protocol)?.plain).await
    }

    /// How many refreshes the provider was asked for, by its own account.
    pub fn refreshes(&self) -> u64 {
        self.provider.truth().stats().grants.get("refresh_token").copied().unwrap_or(0)
    }

    /// Ends it orderly: everything must still run, stop when told, and not have panicked. The last line of every test, since
    /// a world that is dropped without it shows its logs.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn end(mut self) -> Result<()> {
        self.house.stop().await?;
        self.ended = true;
        Ok(())
    }
}

/// The provider's first app, with what `app` does not say filled in; without mail servers.
fn own_app(provider: &Provider, mut app: v1::App) -> v1::App {
    if app.preset.is_empty() {
        "generic-oidc".clone_into(&mut app.preset);
        provider.issuer().clone_into(&mut app.authority);
    }
    if app.client_id.is_empty() {
        app.client_id = provider.client_id();
    }
    if app.extra_scopes.is_empty() {
        app.extra_scopes = vec!["mail".to_owned()];
    }
    app
}

async fn tokens_at(doors: &doors::BrokerDoors, key: &str) -> Result<TokenBroker> {
    let options = Options::new(format!("http://{}", doors.grpc)).deadline(PATIENCE);
    Ok(TokenBroker::connect(options.api_key(key).cache_entries(0)).await?)
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the processes said")]
    fn drop(&mut self) {
        if !self.ended {
            eprintln!("{}", self.house.tails());
        }
    }
}
