//! Step 4: a password for an ordinary mail client.

use anyhow::{Context, Result};

use super::Stage;
use crate::world::{ALICE, Client};

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let create = ["credential", "create", ALICE, "--description", "scanner"];
    let made = stage.brokerctl(&create).await?;
    let password = made["secret"].as_str().context("no password in the answer")?;
    stage.credential = made["name"].as_str().context("no name")?.to_owned();
    stage.narrator.seen(&format!("shown once: {password}"));
    stage.client = Some(Client::new(&stage.world.house, ALICE, password)?);
    Ok(())
}
