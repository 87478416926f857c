//! Real clients: curl and Python's imaplib and smtplib. Where one is missing its test says so and passes.

use std::ffi::OsStr;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::world::{ALICE, BOB, MAIL, World};

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a program to its end; `None` if it is not installed (with `CI=true` that is an error).
async fn run(program: &str, arguments: &[&dyn AsRef<OsStr>]) -> Result<Option<Output>> {
    let mut command = Command::new(program);
    command.kill_on_drop(true).args(arguments.iter().map(|argument| argument.as_ref()));
    match tokio::time::timeout(DEADLINE, command.output()).await? {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ensure!(std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
            Ok(None)
        }
        output => Ok(Some(output?)),
    }
}

fn said(output: &Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

#[tokio::test]
async fn curl_lists_and_fetches_from_the_fake_mailbox() -> Result<()> {
    let world = World::new().await?;
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    world.ca.write_pem(&ca)?;
    let addresses = world.mailbox.addresses();
    let bases = [
        format!("imap://127.0.0.1:{}", addresses.imap.port()),
        format!("imaps://localhost:{}", addresses.imaps.port()),
    ];
    let token = world.token(ALICE);
    for base in bases {
        let curl = async |url: String| {
            run(
                "curl",
                &[&"-sS", &"--cacert", &ca, &"-u", &ALICE, &"--oauth2-bearer", &token, &url],
            )
            .await
        };
        let Some(listed) = curl(format!("{base}/")).await? else { return Ok(()) };
        assert!(said(&listed)?.contains("\"INBOX\""));
        let Some(fetched) = curl(format!("{base}/INBOX;MAILINDEX=1")).await? else { return Ok(()) };
        assert_eq!(said(&fetched)?, MAIL);
    }
    Ok(())
}

#[tokio::test]
async fn curl_fetches_after_starttls() -> Result<()> {
    let world = World::new().await?;
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    world.ca.write_pem(&ca)?;
    let token = world.token(ALICE);
    let url = format!("imap://localhost:{}/INBOX;UID=1", world.mailbox.addresses().imap.port());
    let arguments: [&dyn AsRef<OsStr>; 9] =
        [&"-sS", &"--ssl-reqd", &"--cacert", &ca, &"-u", &ALICE, &"--oauth2-bearer", &token, &url];
    let Some(fetched) = run("curl", &arguments).await? else { return Ok(()) };
    assert_eq!(said(&fetched)?, MAIL);
    assert_eq!(world.mailbox.stats().tls, 1);
    Ok(())
}

#[tokio::test]
async fn curl_is_refused_with_a_dead_token() -> Result<()> {
    let world = World::new().await?;
    let token = world.token(ALICE);
    world.provider.revoke_user(ALICE);
    let url = format!("imap://127.0.0.1:{}/", world.mailbox.addresses().imap.port());
    let Some(output) =
        run("curl", &[&"-sS", &"-u", &ALICE, &"--oauth2-bearer", &token, &url]).await?
    else {
        return Ok(());
    };
    // 67: login denied.
    assert_eq!(output.status.code(), Some(67), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn curl_sends_a_mail_that_is_read_back() -> Result<()> {
    let world = World::new().await?;
    let folder = tempfile::tempdir()?;
    let mail = folder.path().join("mail");
    std::fs::write(&mail, MAIL)?;
    let url = format!("smtp://127.0.0.1:{}", world.mailbox.addresses().smtp.port());
    let token = world.token(BOB);
    let arguments: [&dyn AsRef<OsStr>; 12] = [
        &"-sS",
        &"-u",
        &BOB,
        &"--oauth2-bearer",
        &token,
        &"--mail-from",
        &BOB,
        &"--mail-rcpt",
        &ALICE,
        &"-T",
        &mail,
        &url,
    ];
    let Some(output) = run("curl", &arguments).await? else { return Ok(()) };
    said(&output)?;
    let mails = world.mailbox.store().mails(ALICE, "INBOX");
    assert_eq!(mails.len(), 2);
    assert_eq!(*mails[1], *MAIL.as_bytes());
    Ok(())
}

const PYTHON: &str = r#"
import imaplib, smtplib, ssl, sys
imap, smtps, ca, user, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
tls = ssl.create_default_context(cafile=ca)
said = f"user={user}\x01auth=Bearer {token}\x01\x01"
with smtplib.SMTP_SSL("localhost", smtps, context=tls, timeout=20) as s:
    s.ehlo()
    s.auth("XOAUTH2", lambda challenge=None: said if challenge is None else "")
    s.sendmail(user, [user], "Subject: from python\r\n\r\nbody\r\n")
m = imaplib.IMAP4("localhost", imap, timeout=20)
m.starttls(tls)
m.authenticate("XOAUTH2", lambda challenge: said.encode())
kind, folders = m.list()
assert kind == "OK" and any(b"INBOX" in f for f in folders), folders
assert m.select("INBOX") == ("OK", [b"2"])
assert m.append("Sent", r"(\Seen)", None, b"Subject: kept\r\n\r\nx\r\n")[0] == "OK"
found = m.search(None, "SUBJECT", '"from python"')
assert found == ("OK", [b"2"]), found
kind, data = m.fetch("2", "(FLAGS BODY[])")
assert b"from python" in data[0][1], data
assert m.uid("STORE", "2", "+FLAGS", r"(\Deleted)")[0] == "OK"
assert m.expunge() == ("OK", [b"2"])
m.close()
m.logout()
print("all well")
"#;

#[tokio::test]
async fn imaplib_and_smtplib_work_through_tls() -> Result<()> {
    let world = World::new().await?;
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    world.ca.write_pem(&ca)?;
    let addresses = world.mailbox.addresses();
    let ports = [addresses.imap.port().to_string(), addresses.smtps.port().to_string()];
    let token = world.token(ALICE);
    let arguments: [&dyn AsRef<OsStr>; 7] =
        [&"-c", &PYTHON, &ports[0], &ports[1], &ca, &ALICE, &token];
    let Some(output) = run("python3", &arguments).await? else { return Ok(()) };
    assert_eq!(said(&output)?, "all well\n");
    Ok(())
}
