//! An ordinary IMAP login: every form of it, then bytes as they are, then the right blame.

use anyhow::{Context, Result};
use data_encoding::BASE64;
use e2e::cast::mailbox::settings::{Mechanism, Trouble};
use e2e::cast::provider::faults::Rule;
use e2e::world::clients::CURL_LOGIN_DENIED;
use e2e::world::{ALICE, BOB, Client, Engine, Wire, World, letter};

use crate::words::{imap_answer, oauth, outlive, refresh_now, status};

#[tokio::test]
async fn curl_lists_and_fetches_in_clear_after_starttls_and_in_tls() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let mail = letter(BOB, ALICE, "for curl");
        world.mailbox.deliver(ALICE, &mail)?;
        let client = world.client(ALICE).await?;
        for wire in [Wire::Plain, Wire::StartTls, Wire::Tls] {
            let client = client.over(wire);
            let folders = client.curl_imap("").await?.ok()?;
            assert!(folders.stdout.contains("INBOX"), "{wire:?}: {folders}");
            let fetched = client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
            assert_eq!(fetched.stdout, mail, "{wire:?}");
        }
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn python_logs_in_with_words_literals_and_sasl() -> Result<()> {
    let world = World::start().await?;
    world.mailbox.deliver(ALICE, &letter(BOB, ALICE, "for python"))?;
    let client = world.client(ALICE).await?.over(Wire::Tls);
    let forms: [&[&str]; 5] = [
        &[],
        &["--literal-login", "sync"],
        &["--literal-login", "plus"],
        &["--auth-plain", "later"],
        &["--auth-plain", "initial"],
    ];
    for form in forms {
        let expected = ["--expect-subject", "for python", "--json"];
        let said = client.python_imap(&[form, &expected[..]].concat()).await?.ok()?.json()?;
        assert!(said["body"].as_str().unwrap_or_default().contains("hello"), "{form:?}: {said}");
    }
    world.end().await
}

#[tokio::test]
async fn quoted_words_and_the_accounts_id_log_in_too() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let id = account.name.rsplit('/').next().context("no id")?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    assert!(credential.login_names.iter().any(|name| name == id), "{credential:?}");
    assert!(imap_answer(&world, id, &password).await?.starts_with("a OK"));
    let quoted = (format!("\"{ALICE}\""), format!("\"{password}\""));
    assert!(imap_answer(&world, &quoted.0, &quoted.1).await?.starts_with("a OK"));
    assert!(imap_answer(&world, &ALICE.to_uppercase(), &password).await?.starts_with("a OK"));
    world.end().await
}

#[tokio::test]
async fn the_capabilities_after_login_are_the_upstreams() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut speaker = world.speak("imap").await?;
    let greeting = speaker.expect("* OK [CAPABILITY ").await?;
    assert!(!greeting.contains("XOAUTH2"), "clients shall use their password: {greeting}");
    speaker.send("1 ID NIL").await?;
    speaker.until("1 OK").await?;
    speaker.send("2 NOOP").await?;
    speaker.expect("2 OK").await?;
    speaker.send(&format!("3 LOGIN {ALICE} {password}")).await?;
    speaker.until("3 OK").await?;
    speaker.send("4 CAPABILITY").await?;
    let offered = speaker.until("4 OK").await?;
    assert!(offered[0].contains("IDLE"), "{offered:?}");
    speaker.send("5 LOGOUT").await?;
    speaker.until("5 OK").await?;
    assert_eq!(speaker.closed().await?, "");
    world.end().await
}

#[tokio::test]
async fn what_a_client_says_behind_its_login_is_not_lost() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut speaker = world.speak("imap").await?;
    speaker.expect("* OK").await?;
    let pipelined =
        format!("a LOGIN {ALICE} {password}\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\n");
    speaker.send_bytes(pipelined.as_bytes()).await?;
    for answer in ["a OK", "b OK", "c OK", "d OK"] {
        speaker.until(answer).await?;
    }
    world.end().await
}

#[tokio::test]
async fn wrong_words_are_answered_like_any_server_does() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    world.connect(BOB).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let wrong = [
        (ALICE, "wrong".to_owned()),
        (ALICE, format!("{password}x")),
        ("nobody@example.test", password.clone()),
        (BOB, password.clone()),
        ("bob", password.to_lowercase().replace("tb_", "tbk_")),
    ];
    for (login, password) in wrong {
        let answer = imap_answer(&world, login, &password).await?;
        assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{login}: {answer}");
    }
    let client = Client::new(&world.house, ALICE, "wrong")?;
    assert_eq!(client.curl_imap("").await?.code, CURL_LOGIN_DENIED);
    assert_eq!(world.mailbox.stats().welcomed, 2, "nobody reached the mail server but the proofs");
    world.end().await
}

#[tokio::test]
async fn both_mechanisms_lead_upstream() -> Result<()> {
    let world = World::start().await?;
    world.mailbox.deliver(ALICE, &letter(BOB, ALICE, "mechanisms"))?;
    let client = world.client(ALICE).await?;
    for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        for sasl_ir in [true, false] {
            world.mailbox.change(|settings| {
                settings.mechanisms = vec![mechanism];
                settings.sasl_ir = sasl_ir;
            });
            client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
            let login = world.mailbox.logins().pop().context("no login")?;
            assert_eq!((login.mechanism, login.welcome), (mechanism, true));
        }
    }
    world.end().await
}

#[tokio::test]
async fn a_login_after_the_token_ended_still_works() -> Result<()> {
    let world = World::builder().provider(|it| it.access_life_s = 2).start().await?;
    let client = world.client(ALICE).await?;
    outlive(&world.operator, ALICE).await?;
    client.curl_imap("").await?.ok()?;
    assert!(world.refreshes() >= 1);
    world.end().await
}

#[tokio::test]
async fn a_token_the_mail_server_refuses_is_replaced_once() -> Result<()> {
    let world = World::start().await?;
    let client = world.client(ALICE).await?;
    // Behind the broker's back: its token still looks good.
    let truth = world.provider.truth();
    let held = truth.tokens_of(ALICE, e2e::cast::provider::record::Kind::Access);
    let held = held.last().context("no token")?.token.clone();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    world.mailbox.trouble(Trouble::Refuse, Some(1));
    client.curl_imap("").await?.ok()?;
    let login = world.mailbox.logins().pop().context("no login")?;
    assert!(login.welcome);
    let used = truth.snapshot().tokens[login.token_id.context("no token")?].token.clone();
    assert_ne!(used, held);
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.mailbox.stats().unanswered_challenges, 0, "and the challenge was answered");
    world.end().await
}

#[tokio::test]
async fn who_has_to_act_is_told_right() -> Result<()> {
    let world = World::builder().provider(|it| it.access_life_s = 1).start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    outlive(&world.operator, ALICE).await?;
    world.provider.fault(Rule::refresh(status(503)));
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [UNAVAILABLE]") && answer.contains("temporarily"), "{answer}");
    world.provider.clear_faults();
    world.provider.fault(Rule::refresh(oauth("invalid_client", Some(401))));
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [CONTACTADMIN]"), "{answer}");
    world.provider.clear_faults();
    // The operator has mended the app and does not wait for the next probe.
    refresh_now(&world.operator, ALICE).await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    outlive(&world.operator, ALICE).await?;
    world.provider.revoke_user(ALICE);
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    world.end().await
}

#[tokio::test]
async fn trouble_at_the_mail_server_is_not_the_clients() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    for trouble in [Trouble::Unavailable, Trouble::Drop, Trouble::DropGreeting, Trouble::Busy] {
        world.mailbox.trouble(trouble, None);
        let answer = imap_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with("a NO [UNAVAILABLE]"), "{trouble:?}: {answer}");
    }
    world.mailbox.trouble(Trouble::Limit, None);
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(!answer.contains("AUTHENTICATIONFAILED"), "{answer}");
    world.mailbox.end_trouble();
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    world.end().await
}

#[tokio::test]
async fn a_broker_that_is_away_is_not_the_clients_fault() -> Result<()> {
    let mut world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    world.house.broker()?.kill();
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [UNAVAILABLE]"), "{answer}");
    world.house.open().await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    world.end().await
}

#[tokio::test]
async fn a_large_mailbox_comes_through_unchanged() -> Result<()> {
    let world = World::start().await?;
    let body: String =
        (0..20_000).map(|line| format!("{line:07} {}\r\n", "x".repeat(60))).collect();
    let mail = format!("Subject: large\r\n\r\n{body}");
    world.mailbox.deliver(ALICE, &mail)?;
    let client = world.client(ALICE).await?.over(Wire::Tls);
    let fetched = client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
    assert!(fetched.stdout == mail, "{} of {} bytes", fetched.stdout.len(), mail.len());
    world.end().await
}

#[tokio::test]
async fn sasl_plain_may_name_the_same_user_twice_but_no_other() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    for (identity, welcome) in [("", true), (ALICE, true), (BOB, false)] {
        let mut speaker = world.speak("imap").await?;
        speaker.expect("* OK").await?;
        let plain = BASE64.encode(format!("{identity}\0{ALICE}\0{password}").as_bytes());
        speaker.send(&format!("a AUTHENTICATE PLAIN {plain}")).await?;
        let answer = speaker.until("a ").await?;
        let last = answer.last().context("no answer")?;
        assert_eq!(last.starts_with("a OK"), welcome, "{identity:?}: {last}");
    }
    world.end().await
}
