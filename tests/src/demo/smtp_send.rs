//! Step 6: a real mail client sends, and reads what it sent.

use anyhow::{Result, ensure};

use super::Stage;
use crate::world::{ALICE, letter};

pub(super) async fn walk(stage: &mut Stage) -> Result<()> {
    let port = stage.world.house.adapter("smtp")?.plain.port();
    stage.narrator.command(&format!(
        "curl -u {ALICE}:PASSWORD --mail-from {ALICE} --mail-rcpt {ALICE} -T letter.txt smtp://localhost:{port}"
    ));
    let mail = letter(ALICE, ALICE, "Sent through the adapter");
    let client = stage.client()?;
    client.curl_smtp(ALICE, &mail).await?.ok()?;
    let port = stage.world.house.adapter("imap")?.plain.port();
    stage
        .narrator
        .command(&format!("curl -u {ALICE}:PASSWORD 'imap://localhost:{port}/INBOX;MAILINDEX=2'"));
    let read = client.curl_imap("INBOX;MAILINDEX=2").await?.ok()?.stdout;
    ensure!(read == mail, "what came back is not what was sent: {read}");
    stage.narrator.seen("what was read is byte for byte what was sent");
    Ok(())
}
