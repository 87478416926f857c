//! Step 5: a real mail client reads.

use anyhow::{Result, ensure};

use super::Stage;
use crate::world::{ALICE, letter};

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let port = stage.world.house.adapter("imap")?.plain.port();
    stage
        .narrator
        .command(&format!("curl -u {ALICE}:PASSWORD 'imap://localhost:{port}/INBOX;MAILINDEX=1'"));
    let mail = stage.client()?.curl_imap("INBOX;MAILINDEX=1").await?.ok()?.stdout;
    ensure!(mail == letter("postmaster@example.test", ALICE, "Welcome"), "not that mail: {mail}");
    stage.narrator.seen(&mail.lines().take(3).collect::<Vec<_>>().join("\n"));
    let logins = stage.world.mailbox.logins();
    let mechanism = logins.last().map_or("nothing", |login| login.mechanism.name());
    stage.narrator.seen(&format!("upstream the adapter logged in with {mechanism}"));
    Ok(())
}
