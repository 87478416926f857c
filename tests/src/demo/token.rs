//! Step 3: access tokens for services.

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::world::ALICE;

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let create = ["caller", "create", "crm", "--role", "service", "--domain", "example.test"];
    let made = stage.brokerctl(&create).await?;
    let key = made["secret"].as_str().context("no key in the answer")?.to_owned();
    let service = stage.world.tokens(&key).await?;
    let token = service.access_token(ALICE).await?;
    let truth = stage.world.provider.truth();
    let record = truth.token(token.expose()).context("the provider never issued this token")?;
    ensure!(record.user == ALICE && truth.is_live(token.expose()), "not alice's living token");
    stage.narrator.seen(&format!(
        "GetAccessToken over gRPC: {} bytes, {}, for {} more seconds; the provider knows it as {ALICE}'s",
        token.expose().len(),
        token.token_type(),
        token.expires_in().as_secs()
    ));
    let shown = stage.brokerctl(&["token", "get", ALICE]).await?;
    ensure!(shown["access_token"] == token.expose(), "brokerctl got another token");
    Ok(())
}
