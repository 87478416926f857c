//! Step 1: an OAuth app.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Stage;

/// The app's id.
pub(super) const APP: &str = "demo";

/// The arguments that register it, as one would type them.
pub(super) fn arguments(stage: &Stage, id: &str) -> Vec<String> {
    let provider = &stage.world.provider;
    let mail = stage.world.mailbox.addresses();
    let words = format!(
        "app create {id} --preset generic-oidc --authority {} --client-id {} --extra-scope mail \
         --mail-host imaps://localhost:{} --mail-host smtp://localhost:{}",
        provider.issuer(),
        provider.client_id(),
        mail.imaps.port(),
        mail.smtp.port()
    );
    words.split(' ').map(str::to_owned).collect()
}

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let arguments = arguments(stage, APP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    stage.narrator.command(&format!(
        "TOKEN_BROKER_CLIENT_SECRET={} brokerctl {}",
        stage.world.provider.client_secret(),
        arguments.join(" ")
    ));
    let secret = stage.world.provider.client_secret();
    let tool = stage.world.operator.tool(&arguments).env("TOKEN_BROKER_CLIENT_SECRET", secret);
    let app = tool.run().await?.ok()?.json()?;
    let redirect = app["redirect_uri"].as_str().unwrap_or_default();
    stage.narrator.seen(&format!("its redirect URI, to be registered at the provider: {redirect}"));
    let said = stage.brokerctl(&["app", "verify", APP]).await?;
    ensure!(said["accepted"] == Value::Bool(true), "the provider does not accept it: {said}");
    Ok(())
}
