//! Step 8: a revoked password opens nothing.

use anyhow::{Result, ensure};

use super::Stage;
use crate::world::clients::{CURL_LOGIN_DENIED, answer_line};

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let name = stage.credential.clone();
    stage.brokerctl(&["credential", "revoke", &name]).await?;
    let run = stage.client()?.curl_imap_command("", &["-v"]).await?;
    ensure!(run.code == CURL_LOGIN_DENIED, "it was not refused: {run}");
    let answer = answer_line(&run, "AUTHENTICATIONFAILED")?;
    stage.narrator.seen(&format!("the IMAP adapter answers: {}", answer.trim_start_matches("< ")));
    let run = stage.client()?.curl_smtp("nobody@example.test", "x").await?;
    ensure!(run.code == CURL_LOGIN_DENIED, "SMTP did not refuse it: {run}");
    Ok(())
}
