//! A house beside the real servers, and how people use it there.
//!
//! Nothing here is faked: the app is registered with `brokerctl`, the owner signs in at the certified server, tokens open
//! Dovecot and the submission server. Next: `tests/real_stack.rs`.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::clients::Client;
use super::engine::Engine;
use super::house::{House, Plan};
use super::operator::Operator;
use super::stack::Stack;
use crate::cast::ca::TestCa;

/// The app's id.
pub const APP: &str = "idp";

/// A house, its operator, and the real servers.
#[derive(Debug)]
pub struct Real {
    /// The product.
    pub house: House,
    /// The first administrator.
    pub operator: Operator,
    /// The servers; they end after the house.
    pub stack: Stack,
    ended: bool,
}

impl Real {
    /// Brings all up, with `settings` for `up.sh`, and registers the app. `None` if something is not installed.
    ///
    /// # Errors
    /// Something does not come up, or is missing and `CI=true`.
    pub async fn start(engine: Engine, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let Some(stack) = Stack::up(settings).await? else { return Ok(None) };
        let upstream_ca = Some(stack.ca_file());
        let plan = Plan { engine, upstream_ca, ..Plan::default() };
        let house = Box::pin(House::start(plan, &TestCa::generate()?)).await?;
        let operator = house.operator().await?;
        let real = Self { house, operator, stack, ended: false };
        real.register().await?;
        Ok(Some(real))
    }

    /// `brokerctl account connect`, with its owner at a browser.
    ///
    /// # Errors
    /// Somebody refuses.
    pub async fn connect(&self, mailbox: &str) -> Result<Value> {
        let mut tool = self
            .operator
            .tool(&["account", "connect", "--app", APP, "--no-browser", "--mailbox", mailbox])
            .into_command();
        let tool = tool.stdin(Stdio::null()).kill_on_drop(true);
        let mut tool = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(tool.stderr.take().context("no stderr")?).lines();
        let line = said.next_line().await?.context("brokerctl said nothing")?;
        let link = line.strip_prefix("Open this link: ").with_context(|| line.clone())?;
        let page = self.stack.consent(link, mailbox).await?;
        ensure!(page["status"] == 200, "the owner ends at {page}");
        let output = tool.wait_with_output().await?;
        ensure!(output.status.success(), "brokerctl ends with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// An ordinary client with a password made for it.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn client(&self, mailbox: &str) -> Result<Client> {
        let create = ["credential", "create", mailbox, "--description", "an ordinary client"];
        let made = self.operator.ctl(&create).await?;
        let password = made["secret"].as_str().context("no password")?;
        Client::new(&self.house, mailbox, password)
    }

    /// `brokerctl token get --json`; the token.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn token(&self, mailbox: &str) -> Result<String> {
        let said = self.operator.ctl(&["token", "get", mailbox]).await?;
        Ok(said["access_token"].as_str().context("no token")?.to_owned())
    }

    /// How many refreshes the server was asked for, by its own count.
    ///
    /// # Errors
    /// It does not say.
    pub async fn refreshes(&self) -> Result<u64> {
        let stats = self.stack.admin("stats", None).await?;
        Ok(stats["token"]["refresh_token"]["calls"].as_u64().unwrap_or(0))
    }

    /// Changes a setting of the OAuth server.
    ///
    /// # Errors
    /// It refuses.
    pub async fn set(&self, name: &str, value: Value) -> Result<()> {
        self.stack.admin("config", Some(&json!({ name: value }))).await.map(drop)
    }

    /// Ends the house orderly; the last line of every test.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn end(mut self) -> Result<()> {
        self.house.stop().await?;
        self.ended = true;
        Ok(())
    }

    async fn register(&self) -> Result<()> {
        let stack = &self.stack;
        // Without root there is no Postfix; Dovecot's submission stands in for it.
        let submission = stack.endpoint("SUBMISSION").or_else(|_| stack.endpoint("DSUBMISSION"))?;
        let imap = format!("imaps://{}", stack.endpoint("IMAPS")?);
        let smtp = format!("smtp://{submission}");
        let create = [
            "app",
            "create",
            APP,
            "--preset",
            "generic-oidc",
            "--authority",
            stack.endpoint("OAUTH")?,
            "--client-id",
            stack.endpoint("CLIENT_ID")?,
            "--extra-scope",
            stack.endpoint("MAIL_SCOPE")?,
            "--mail-host",
            &imap,
            "--mail-host",
            &smtp,
        ];
        let secret = stack.endpoint("CLIENT_SECRET")?;
        let tool = self.operator.tool(&create).env("TOKEN_BROKER_CLIENT_SECRET", secret);
        tool.run().await?.ok()?;
        Ok(())
    }
}

impl Drop for Real {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the processes said")]
    fn drop(&mut self) {
        if !self.ended {
            eprintln!("{}", self.house.tails());
        }
    }
}
