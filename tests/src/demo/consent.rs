//! Step 2: the mailbox owner consents.

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::app::APP;
use crate::world::{ALICE, Owner};

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let invite = ["account", "invite", "--app", APP, "--mailbox", ALICE, "--requester", "Demo-Inc"];
    let consent = stage.brokerctl(&invite).await?;
    let link = consent["uri"].as_str().context("no link")?.to_owned();
    stage.narrator.seen(&format!("the link for the owner: {link}"));
    let mut owner = Owner::of(ALICE)?;
    let asked = owner.browser().open(&link).await?;
    ensure!(asked.text.contains("Demo-Inc") && asked.text.contains(ALICE), "{}", asked.text);
    stage
        .narrator
        .seen(&format!("a browser without JavaScript opens it: \"{}\"", title(&asked.text)));
    let done = owner.click_through(asked, "allow").await?;
    ensure!(done.status.is_success(), "the walk ended with {}: {}", done.status, done.text);
    stage.narrator.seen(&format!("after the provider's page: \"{}\"", title(&done.text)));
    let account = stage.brokerctl(&["account", "show", ALICE]).await?;
    ensure!(account["state"] == "active", "{account}");
    Ok(())
}

/// What a page calls itself.
fn title(html: &str) -> String {
    let inner = html.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    inner.map_or_else(|| "untitled".to_owned(), |(title, _)| title.trim().to_owned())
}
