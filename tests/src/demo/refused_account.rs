//! Step 9: a revoked account, and the way back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Stage;
use crate::world::ALICE;

/// `brokerctl`'s exit code when the mailbox owner has to consent.
const OWNER_HAS_TO_ACT: Option<i32> = Some(4);

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let revoked = stage.brokerctl(&["account", "revoke", ALICE]).await?;
    ensure!(revoked["revoked_at_provider"] == Value::Bool(true), "{revoked}");
    stage.narrator.command(&format!("brokerctl token get {ALICE}"));
    let run = stage.world.operator.try_ctl(&["token", "get", ALICE]).await?;
    ensure!(run.code == OWNER_HAS_TO_ACT, "{run}");
    ensure!(run.stderr.contains("ACCOUNT_NEEDS_CONSENT"), "{run}");
    let public = stage.world.house.doors().public_url();
    let link = run.stderr.split(['"', ' ', '\n']).find(|word| word.starts_with(&public));
    let link = link.with_context(|| format!("no link in {run}"))?;
    stage.narrator.seen(&format!("ACCOUNT_NEEDS_CONSENT, with the link for the owner: {link}"));
    Ok(())
}
