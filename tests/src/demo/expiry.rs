//! Step 7: an access token ends and nobody notices.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::world::ALICE;

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    stage.world.provider.change(|settings| settings.access_life_s = 2);
    stage.brokerctl(&["account", "refresh", ALICE]).await?;
    let short = stage.brokerctl(&["token", "get", ALICE]).await?["access_token"].clone();
    stage.world.provider.change(|settings| settings.access_life_s = 3600);
    let end = stage.world.operator.account(ALICE).await?.token_expire_time.context("no end")?;
    let end = SystemTime::try_from(end)?;
    stage
        .narrator
        .seen("the provider now gives tokens of two seconds; waiting until this one has ended");
    while end.elapsed().is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let truth = stage.world.provider.truth();
    ensure!(!truth.is_live(short.as_str().unwrap_or_default()), "the old token still lives");
    stage.client()?.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
    let fresh = stage.brokerctl(&["token", "get", ALICE]).await?["access_token"].clone();
    ensure!(fresh != short, "the ended token was handed out");
    ensure!(truth.is_live(fresh.as_str().unwrap_or_default()), "the new token does not live");
    stage.narrator.seen("the same login and the same call work with a new token");
    Ok(())
}
