//! An ordinary submission: every form of AUTH, then the letter as it is, then the right blame.

use anyhow::{Context, Result};
use e2e::cast::mailbox::settings::Trouble;
use e2e::cast::provider::faults::Rule;
use e2e::world::clients::CURL_LOGIN_DENIED;
use e2e::world::{ALICE, BOB, Client, Engine, Wire, World, letter};

use crate::words::{oauth, outlive, refresh_now, smtp_answer, status};

#[tokio::test]
async fn curl_sends_in_clear_after_starttls_and_in_tls_and_the_letter_is_read_back() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let client = world.client(ALICE).await?;
        for (number, wire) in [Wire::Plain, Wire::StartTls, Wire::Tls].into_iter().enumerate() {
            let client = client.over(wire);
            let mail = letter(ALICE, ALICE, &format!("by {wire:?}"));
            client.curl_smtp(ALICE, &mail).await?.ok()?;
            let path = format!("INBOX;MAILINDEX={}", number + 1);
            assert_eq!(client.curl_imap(&path).await?.ok()?.stdout, mail, "{wire:?}");
        }
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn python_logs_in_with_plain_and_login_in_all_forms() -> Result<()> {
    let world = World::start().await?;
    let client = world.client(ALICE).await?.over(Wire::StartTls);
    let forms: [&[&str]; 5] = [
        &[],
        &["--auth", "plain"],
        &["--auth", "plain", "--no-initial-response"],
        &["--auth", "login"],
        &["--auth", "login", "--no-initial-response"],
    ];
    for (number, form) in forms.into_iter().enumerate() {
        client.python_smtp(form).await?.ok()?;
        assert_eq!(world.mailbox.stats().delivered, number as u64 + 1, "{form:?}");
    }
    world.end().await
}

#[tokio::test]
async fn nothing_is_taken_before_login() -> Result<()> {
    let world = World::start().await?;
    let mut speaker = world.speak("smtp").await?;
    speaker.until("220 ").await?;
    assert!(speaker.ask("HELO client.example.test").await?.starts_with("250"));
    assert!(speaker.ask("MAIL FROM:<a@example.test>").await?.starts_with("530 5.7.0"));
    assert!(speaker.ask("NOOP").await?.starts_with("250"));
    assert!(speaker.ask("QUIT").await?.starts_with("221"));
    assert_eq!(world.mailbox.stats().connections, 0);
    world.end().await
}

#[tokio::test]
async fn wrong_words_are_answered_like_any_server_does() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    for (login, password) in [(ALICE, "wrong"), (BOB, password.as_str()), ("", "")] {
        let answer = smtp_answer(&world, login, password).await?;
        assert!(answer.starts_with("535 5.7.8"), "{login}: {answer}");
    }
    let client = Client::new(&world.house, ALICE, "wrong")?;
    assert_eq!(client.curl_smtp(ALICE, "x").await?.code, CURL_LOGIN_DENIED);
    world.end().await
}

#[tokio::test]
async fn who_has_to_act_is_told_right() -> Result<()> {
    let world = World::builder().provider(|it| it.access_life_s = 1).start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    outlive(&world.operator, ALICE).await?;
    world.provider.fault(Rule::refresh(status(503)));
    let answer = smtp_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("454 4.7.0") && answer.contains("temporarily"), "{answer}");
    world.provider.clear_faults();
    world.provider.fault(Rule::refresh(oauth("invalid_client", Some(401))));
    let answer = smtp_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("454 4.7.0"), "{answer}");
    world.provider.clear_faults();
    // The operator has mended the app and does not wait for the next probe.
    refresh_now(&world.operator, ALICE).await?;
    assert!(smtp_answer(&world, ALICE, &password).await?.starts_with("235"));
    outlive(&world.operator, ALICE).await?;
    world.provider.revoke_user(ALICE);
    let answer = smtp_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("535 5.7.8"), "{answer}");
    world.end().await
}

#[tokio::test]
async fn trouble_at_the_mail_server_is_not_the_clients() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    for trouble in [Trouble::Unavailable, Trouble::Drop, Trouble::DropGreeting, Trouble::Busy] {
        world.mailbox.trouble(trouble, None);
        let answer = smtp_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with("454 4.7.0"), "{trouble:?}: {answer}");
    }
    world.mailbox.end_trouble();
    assert!(smtp_answer(&world, ALICE, &password).await?.starts_with("235"));
    world.end().await
}

#[tokio::test]
async fn a_whole_dialogue_at_once_is_not_lost() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let plain = data_encoding::BASE64.encode(format!("\0{ALICE}\0{password}").as_bytes());
    let mut speaker = world.speak("smtp").await?;
    speaker.until("220 ").await?;
    let eager = format!(
        "EHLO client.example.test\r\nAUTH PLAIN {plain}\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n"
    );
    speaker.send_bytes(eager.as_bytes()).await?;
    for answer in ["250 ", "235", "250", "250", "354"] {
        speaker.until(answer).await?;
    }
    speaker.send_bytes(b"Subject: eager\r\n\r\n..dot\r\n.\r\nQUIT\r\n").await?;
    speaker.until("221").await?;
    let mails = world.mailbox.store().mails(BOB, "INBOX");
    assert_eq!(mails.last().context("no mail")?.as_ref(), b"Subject: eager\r\n\r\n.dot\r\n");
    world.end().await
}
