//! How the audience repeats each step by hand, with a mailbox of its own.
//!
//! Every line can be pasted into a shell as it stands.

use anyhow::Result;

use super::{Stage, app};
use crate::world::BOB;
use crate::world::binaries::binary;

pub(super) async fn print(stage: &Stage) -> Result<()> {
    let world = &stage.world;
    let folder = world.house.folder().display().to_string();
    let programs = binary("brokerctl")?;
    let programs = programs.parent().map(|path| path.display().to_string()).unwrap_or_default();
    let (imap, smtp) =
        (world.house.adapter("imap")?.plain.port(), world.house.adapter("smtp")?.plain.port());
    let issuer = world.provider.issuer();
    let invite = ["account", "invite", "--app", app::APP, "--mailbox", "carol@example.test"];
    let link = world.operator.ctl(&invite).await?["uri"].as_str().unwrap_or_default().to_owned();
    let register = app::arguments(stage, "mine").join(" ");
    let secret = world.provider.client_secret();
    let server = world.operator.server();
    let login = format!("-sS -u \"{BOB}:$(cat $DEMO/bob.password)\"");
    stage.narrator.say(&format!(
        "\nEverything stays up until Ctrl-C. By hand, in another terminal, with {BOB}:\n\n\
         # who and where\n\
         export DEMO={folder} PATH={programs}:$PATH\n\
         export BROKERCTL_SERVER={server} BROKERCTL_KEY_FILE={folder}/admin.key\n\
         brokerctl status\n\n\
         # 1 app\n\
         TOKEN_BROKER_CLIENT_SECRET={secret} brokerctl {register}\n\n\
         # 2 consent: opens the provider's page in your browser; press Allow\n\
         brokerctl account connect --app mine --mailbox {BOB}\n\
         #   or as an invited owner, in your browser, as carol@example.test: {link}\n\n\
         # 3 token\n\
         brokerctl token get {BOB}\n\n\
         # 4 credential\n\
         brokerctl credential create {BOB} --description 'by hand' --output-secret $DEMO/bob.password\n\n\
         # 5 IMAP read\n\
         curl {login} 'imap://localhost:{imap}/'\n\
         curl {login} 'imap://localhost:{imap}/INBOX;MAILINDEX=1'\n\n\
         # 6 SMTP send and read back\n\
         printf 'From: {BOB}\\r\\nTo: {BOB}\\r\\nSubject: by hand\\r\\n\\r\\nhello\\r\\n' |\n  \
         curl {login} --mail-from {BOB} --mail-rcpt {BOB} -T - smtp://localhost:{smtp}\n\
         curl {login} 'imap://localhost:{imap}/INBOX;MAILINDEX=2'\n\n\
         # 7 expiry: tokens of two seconds, then ask again\n\
         curl -sS -o /dev/null -X PATCH -H 'Content-Type: application/json' -d '{{\"access_life_s\":2}}' {issuer}/_sim/settings\n\
         brokerctl account refresh {BOB}; sleep 3; brokerctl token get {BOB}\n\n\
         # 8 revocation refused\n\
         brokerctl credential revoke $(brokerctl credential list {BOB} | awk 'END {{print $1}}')\n\
         curl {login} 'imap://localhost:{imap}/'\n\n\
         # 9 consent needed; exit code 4\n\
         brokerctl account revoke {BOB}; brokerctl token get {BOB}"
    ));
    Ok(())
}
