//! The demo: everything Token Broker does, in nine steps, with real programs on this machine.
//!
//! It plays the provider and the mail servers itself; broker, adapters, `brokerctl` and curl are real. Each step says what it
//! does, does it and checks it. Invariant: a step that is called `ok` was checked. One file a step; the walk is [`walk`].

mod app;
mod by_hand;
mod consent;
mod credential;
mod expiry;
mod imap_read;
mod narrator;
mod refused_account;
mod refused_login;
mod smtp_send;
mod token;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::world::{ALICE, BOB, Client, World, command, letter};
use narrator::Narrator;

const STEPS: usize = 9;

/// What the steps share.
struct Stage {
    world: World,
    narrator: Narrator,
    step: usize,
    /// The mailbox owner's client, once there is a password.
    client: Option<Client>,
    /// The name of its credential.
    credential: String,
}

impl Stage {
    /// Announces a step, takes it, and says how it went.
    async fn take(
        &mut self,
        name: &'static str,
        what: &str,
        step: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.step += 1;
        self.narrator.announce(self.step, STEPS, name, what);
        match step(self).await {
            Ok(()) => {
                self.narrator.ok(self.step, STEPS, name);
                Ok(())
            }
            Err(error) => {
                self.narrator.failed(self.step, STEPS, name);
                Err(error.context(format!("step {} of {STEPS}, {name}, failed", self.step)))
            }
        }
    }

    /// Shows a `brokerctl` command, runs it, and gives its answer.
    async fn brokerctl(&self, arguments: &[&str]) -> Result<Value> {
        self.narrator.command(&format!("brokerctl {}", arguments.join(" ")));
        self.world.operator.ctl(arguments).await
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("there is no password yet")
    }
}

/// Runs the demo. With `once` it ends after the walk, else it stays up until Ctrl-C.
pub async fn run(once: bool) -> ExitCode {
    let narrator = Narrator::default();
    match Box::pin(perform(once, narrator)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            narrator.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn perform(once: bool, narrator: Narrator) -> Result<()> {
    if !command::is_installed("curl") {
        bail!("the demo needs curl: apt-get install curl");
    }
    narrator.say(
        "Token Broker, end to end on this machine. The provider and the mail servers are played by this program; the\n\
         broker, both adapters, brokerctl and curl are real. Everything listens on 127.0.0.1 and is gone afterwards.\n",
    );
    let mut stage = start(narrator).await?;
    if let Err(error) = walk(&mut stage).await {
        // The world shows the last lines of every log when it is dropped like this.
        drop(stage);
        return Err(error);
    }
    narrator.say("\nAll nine steps are ok.");
    if !once {
        by_hand::print(&stage).await?;
        wait_for_the_end().await?;
        narrator.say("\nStopping.");
    }
    stage.world.end().await
}

async fn start(narrator: Narrator) -> Result<Stage> {
    let began = Instant::now();
    let world = World::builder().without_app().start().await?;
    for mailbox in [ALICE, BOB] {
        let welcome = letter("postmaster@example.test", mailbox, "Welcome");
        world.mailbox.deliver(mailbox, &welcome)?;
    }
    let doors = world.house.doors();
    let imap = world.house.adapter("imap")?.plain;
    let smtp = world.house.adapter("smtp")?.plain;
    narrator.say(&format!(
        "Started in {:.1} s, in {}:\n  \
         fake provider {}   broker gRPC {}, admin {}, web {}\n  \
         IMAP adapter {imap}   SMTP adapter {smtp}",
        began.elapsed().as_secs_f32(),
        world.house.folder().display(),
        world.provider.issuer(),
        doors.grpc,
        doors.admin,
        doors.public_url(),
    ));
    Ok(Stage { world, narrator, step: 0, client: None, credential: String::new() })
}

async fn walk(stage: &mut Stage) -> Result<()> {
    let what = "The operator registers an OAuth app at the broker.";
    stage.take("app", what, app::walk).await?;
    let what = "The owner of a mailbox opens a link, reads who asks, and consents at the provider.";
    stage.take("consent", what, consent::walk).await?;
    let what = "A service asks for an access token, over gRPC and with brokerctl.";
    stage.take("token", what, token::walk).await?;
    let what = "The operator makes a password for an ordinary mail client.";
    stage.take("credential", what, credential::walk).await?;
    let what = "curl logs in to the IMAP adapter with that password and reads a mail.";
    stage.take("IMAP read", what, imap_read::walk).await?;
    let what = "curl sends a mail through the SMTP adapter and reads it back over IMAP.";
    stage.take("SMTP send and read back", what, smtp_send::walk).await?;
    let what = "The access token ends; neither the service nor the mail client notices.";
    stage.take("expiry survived", what, expiry::walk).await?;
    let what = "The operator revokes the password; the next login is refused.";
    stage.take("revocation refused", what, refused_login::walk).await?;
    let what = "The operator revokes the account; the service is told how its owner can come back.";
    stage.take("consent needed", what, refused_account::walk).await
}

async fn wait_for_the_end() -> Result<()> {
    let mut told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = told.recv() => {}
    }
    Ok(())
}
