//! A broker inside this process, on a clock that a test moves, opposite a provider whose clock moves with it.
//!
//! It is the broker as `main` assembles it, without its log and its figures: those are one for a process. Hours pass in seconds;
//! deadlines of network waits, and leases, which go by the database's clock, stay real. Invariant: both clocks stand still
//! between two steps, and only [`Timelapse::set`] makes them differ. Next: the tests of outages and of clocks that jump.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use token_broker::assemble::{self, Core, NewInstance};
use token_broker::clock::{Clock, Time};
use token_broker::config;
use token_broker::entropy::Entropy;
use token_broker_client::{Options, TokenBroker, v1};

use super::crowd;
use super::engine::Engine;
use super::house::{House, Plan};
use super::operator::Operator;
use super::{APP, own_app};
use crate::cast::ca::TestCa;
use crate::cast::provider::Provider;
use crate::cast::provider::settings::{Consent, ProviderSettings, Rotation};

/// How long the broker gets for each step: longer than its schedule sleeps.
const STEP: Duration = Duration::from_millis(300);
const STOP: Duration = Duration::from_secs(10);

/// A broker on a clock of its own.
#[derive(Debug)]
pub struct Timelapse {
    core: Option<Core>,
    house: House,
    /// The fake provider; its refresh tokens are good for one use.
    pub provider: Provider,
    /// The first administrator.
    pub operator: Operator,
    /// A service that may have every token.
    pub tokens: TokenBroker,
    /// The mailboxes that are connected.
    pub mailboxes: Vec<String>,
    clock: Clock,
}

impl Timelapse {
    /// Connects `count` mailboxes at a broker that makes at most `rate` calls a second.
    ///
    /// # Errors
    /// Something does not come up.
    pub async fn start(engine: Engine, count: usize, rate: f64) -> Result<Self> {
        // What `init` wrote must not lie in the future.
        let now = Clock::system().now().after(Duration::from_secs(60));
        let provider = Provider::start(ProviderSettings {
            frozen_at_ms: Some(now.millis()),
            rotation: Rotation::Strict,
            consent: Consent::Auto,
            ..ProviderSettings::default()
        })
        .await?;
        let plan = Plan { engine, adapters: false, rate_per_app: Some(rate), ..Plan::default() };
        let house = House::found(plan, &TestCa::generate()?).await?;
        house.init().await?.ok()?;
        let operator = house.operator().await?;
        let mut this = Self {
            core: None,
            tokens: operator.tokens().clone(),
            house,
            provider,
            operator,
            mailboxes: Vec::new(),
            clock: Clock::manual(now),
        };
        this.open().await?;
        let app = own_app(&this.provider, v1::App::default());
        let secret = this.provider.client_secret();
        this.operator.register(APP, app, &secret).await?;
        this.mailboxes = crowd::connect(&this.operator, APP, count).await?;
        let key = this.operator.service_key("crm").await?;
        let grpc = format!("http://{}", this.house.doors().grpc);
        let options = Options::new(grpc).api_key(key).deadline(super::PATIENCE);
        this.tokens = TokenBroker::connect(options.cache_entries(0)).await?;
        Ok(this)
    }

    /// Ends the broker and starts it again, on the same clock.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.close().await?;
        self.open().await
    }

    /// Lets time pass for broker and provider, in steps of at most `step`.
    pub async fn pass(&self, span: Duration, step: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let now = left.min(step);
            self.provider.advance(now);
            self.clock.advance(now);
            left -= now;
            tokio::time::sleep(STEP).await;
        }
    }

    /// Lets time pass by `step` until `done`.
    ///
    /// # Errors
    /// It is not after so many `steps`; `what` is for people.
    pub async fn pass_until(
        &self,
        what: &str,
        (step, steps): (Duration, usize),
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        for _ in 0..steps {
            if done(self) {
                return Ok(());
            }
            self.pass(step, step).await;
        }
        ensure!(done(self), "not after {steps} times {step:?}: {what}");
        Ok(())
    }

    /// Sets the broker's clock so far ahead of the provider's; zero sets it right.
    pub fn set_ahead(&self, span: Duration) {
        self.clock.set(Time::from_millis(self.provider.truth().now_ms()).after(span));
    }

    /// Refreshes the provider was asked for so far.
    pub fn refreshes(&self) -> u64 {
        self.provider.truth().stats().grants.get("refresh_token").copied().unwrap_or(0)
    }

    /// Asks once for each mailbox's token.
    ///
    /// # Errors
    /// The call as a whole is refused.
    pub async fn ask(&self) -> Result<Vec<Result<v1::GetAccessTokenResponse, v1::Refusal>>> {
        crowd::ask(&self.tokens, &self.mailboxes).await
    }

    /// The same while time goes on by `step` and `step`, for answers that need it to come.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn ask_over_time(
        &self,
        step: Duration,
    ) -> Result<Vec<Result<v1::GetAccessTokenResponse, v1::Refusal>>> {
        let passing = async {
            loop {
                self.pass(step, step).await;
            }
        };
        tokio::select! {
            answers = self.ask() => answers,
            never = passing => never,
        }
    }

    /// How often the provider was asked for a refresh of each mailbox, in order.
    pub fn calls_of_each(&self) -> Vec<u64> {
        let truth = self.provider.truth();
        self.mailboxes.iter().map(|mailbox| truth.user(mailbox).refresh_calls).collect()
    }

    /// Checks that no account has changed its state.
    ///
    /// # Errors
    /// One has.
    pub async fn all_are_active(&self) -> Result<()> {
        for mailbox in &self.mailboxes {
            let state = self.operator.account(mailbox).await?.state();
            ensure!(state == v1::AccountState::Active, "{mailbox} is {state:?}");
        }
        Ok(())
    }

    /// The broker's parts.
    ///
    /// # Errors
    /// It does not run.
    pub fn core(&self) -> Result<&Core> {
        self.core.as_ref().context("it does not run")
    }

    /// Ends it; the last line of every test.
    ///
    /// # Errors
    /// It does not end.
    pub async fn end(mut self) -> Result<()> {
        self.close().await
    }

    async fn open(&mut self) -> Result<()> {
        let env = |name: &str| std::env::var(name).ok();
        let config = config::load(&self.house.config(), &env)
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let kit = (self.clock.clone(), Entropy::system());
        let of_system = |name: &str| std::env::var_os(name);
        let core = Core::open_with(&config, &of_system, NewInstance::Refuse, kit).await?;
        core.service.recover().await?;
        assemble::open_doors(&config, &core).await?;
        self.core = Some(core);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.core.take().context("it does not run")?.close(STOP).await;
        Ok(())
    }
}
