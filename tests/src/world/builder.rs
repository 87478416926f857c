//! What a [`World`] is told before it is built.
//!
//! Says nothing about how: that is [`super::house`]. Next: `build`, at the end of this file, has the order.

use anyhow::Result;
use token_broker_client::v1;

use super::{APP, Engine, Fixture, House, Plan, World, fixture, own_app};
use crate::cast::ca::TestCa;
use crate::cast::mailbox::Mailbox;
use crate::cast::mailbox::settings::MailboxSettings;
use crate::cast::provider::Provider;
use crate::cast::provider::settings::ProviderSettings;

/// What a world is told before it is built.
#[derive(Debug, Default)]
pub struct Builder {
    plan: Plan,
    provider: ProviderSettings,
    mailbox: MailboxSettings,
    app: v1::App,
    bare: bool,
    no_mail: bool,
    fixture: Option<Fixture>,
}

impl Builder {
    /// On this engine; SQLite if not said.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.plan.engine = engine;
        self
    }

    /// With this many brokers on one PostgreSQL.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.plan.replicas = count;
        self.engine(Engine::Postgres)
    }

    /// With brokers that are not told a name.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.plan.nameless = true;
        self
    }

    /// With a cable between each broker and PostgreSQL that can be cut.
    #[must_use]
    pub fn cables(mut self) -> Self {
        self.plan.cables = true;
        self.engine(Engine::Postgres)
    }

    /// With this many calls a second of the token endpoint for each app and broker.
    #[must_use]
    pub fn rate_per_app(mut self, rate: f64) -> Self {
        self.plan.rate_per_app = Some(rate);
        self
    }

    /// With brokers that hand out tokens before their record is durable.
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.plan.relaxed = true;
        self
    }

    /// With a cable between the adapters and the first broker that can be cut.
    #[must_use]
    pub fn adapter_cable(mut self) -> Self {
        self.plan.adapter_cable = true;
        self
    }

    /// With adapters that end their sessions after so many seconds without a broker.
    #[must_use]
    pub fn orphan_ttl(mut self, seconds: u32) -> Self {
        self.plan.orphan_ttl_s = Some(seconds);
        self
    }

    /// With these lines in the brokers' `[audit]`.
    #[must_use]
    pub fn audit(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.plan.audit);
        self
    }

    /// With the broker only.
    #[must_use]
    pub fn without_adapters(mut self) -> Self {
        self.plan.adapters = false;
        self
    }

    /// With a broker that asks for confirmation of a refused grant after so many seconds; at once if not said.
    #[must_use]
    pub fn confirm_after(mut self, seconds: u64) -> Self {
        self.plan.confirm_after_s = seconds;
        self
    }

    /// Without an app.
    #[must_use]
    pub fn without_app(mut self) -> Self {
        self.bare = true;
        self
    }

    /// With an app that knows no mail servers, so that consents are quick.
    #[must_use]
    pub fn without_mail_hosts(mut self) -> Self {
        self.no_mail = true;
        self
    }

    /// On this database of an older state of the code, opposite those who are named in its rows.
    #[must_use]
    pub fn fixture(self, fixture: Fixture) -> Self {
        let change = |settings: &mut _| *settings = fixture::provider();
        let this = self.engine(fixture.engine()).without_app().provider(change);
        let this = this.mailbox(|settings| *settings = fixture::mailbox());
        Self { fixture: Some(fixture), ..this }
    }

    /// As it runs in earnest: a PostgreSQL that waits for the disk, and so many calls of the token endpoint a second.
    #[must_use]
    pub fn in_earnest(mut self, rate: f64) -> Self {
        self.plan.durable = true;
        self.plan.rate_per_app = Some(rate);
        self
    }

    /// With this much in the logs, as a `tracing` filter; `info` if not said.
    #[must_use]
    pub fn log(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.plan.log);
        self
    }

    /// In this folder, which stays.
    #[must_use]
    pub fn folder(mut self, folder: &std::path::Path) -> Self {
        self.plan.folder = Some(folder.to_path_buf());
        self
    }

    /// With a provider like this.
    #[must_use]
    pub fn provider(mut self, change: impl FnOnce(&mut ProviderSettings)) -> Self {
        change(&mut self.provider);
        self
    }

    /// With mail servers like this.
    #[must_use]
    pub fn mailbox(mut self, change: impl FnOnce(&mut MailboxSettings)) -> Self {
        change(&mut self.mailbox);
        self
    }

    /// With this changed in the app.
    #[must_use]
    pub fn app(mut self, change: impl FnOnce(&mut v1::App)) -> Self {
        change(&mut self.app);
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// Something does not come up; the text shows what it said last.
    pub async fn start(self) -> Result<World> {
        Box::pin(self.build()).await
    }

    async fn build(self) -> Result<World> {
        if self.fixture.is_some() {
            fixture::ports_are_free().await?;
        }
        let provider = Provider::start(self.provider).await?;
        let ca = TestCa::generate()?;
        let mailbox = Mailbox::start(self.mailbox, provider.truth(), &ca).await?;
        let house = match &self.fixture {
            None => House::start(self.plan, &ca).await?,
            Some(fixture) => {
                provider.adopt(fixture.kept()?.ledger);
                House::restored(self.plan, &ca, fixture).await?
            }
        };
        let operator = house.operator().await?;
        let world = World { house, mailbox, provider, ca, operator, ended: false };
        if self.no_mail {
            let app = own_app(&world.provider, self.app);
            world.operator.register(APP, app, &world.provider.client_secret()).await?;
        } else if !self.bare {
            world.register(APP, self.app).await?;
        }
        Ok(world)
    }
}
