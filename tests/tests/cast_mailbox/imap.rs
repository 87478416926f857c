//! IMAP, line by line.

use std::time::Duration;

use anyhow::Result;
use e2e::cast::mailbox::sasl;
use e2e::cast::mailbox::settings::{Mechanism, Trouble};
use e2e::cast::speaker::Speaker;

use crate::world::{ALICE, BOB, MAIL, World};

#[tokio::test]
async fn both_mechanisms_let_in_with_and_without_initial_response() -> Result<()> {
    let world = World::new().await?;
    for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        let response = sasl::response(mechanism, ALICE, &world.token(ALICE));
        let mut inline = world.imap().await?;
        inline.send(&format!("a AUTHENTICATE {} {response}", mechanism.name())).await?;
        inline.expect("a OK [CAPABILITY IMAP4rev1").await?;
        let mut waiting = world.imap().await?;
        waiting.send(&format!("a AUTHENTICATE {}", mechanism.name())).await?;
        waiting.expect("+ ").await?;
        waiting.send(&response).await?;
        waiting.expect("a OK").await?;
    }
    assert_eq!(world.mailbox.stats().welcomed, 4);
    Ok(())
}

#[tokio::test]
async fn a_bad_token_gets_the_challenge_first_and_no_after_the_empty_response() -> Result<()> {
    let world = World::new().await?;
    for (mechanism, dummy) in [(Mechanism::Xoauth2, ""), (Mechanism::Oauthbearer, "AQ==")] {
        let mut speaker = world.imap().await?;
        let response = sasl::response(mechanism, ALICE, "never-issued");
        speaker.send(&format!("a AUTHENTICATE {} {response}", mechanism.name())).await?;
        speaker.expect("+ eyJzdGF0dXMi").await?;
        speaker.send(dummy).await?;
        speaker.expect("a NO [AUTHENTICATIONFAILED]").await?;
    }
    assert_eq!(world.mailbox.stats().unanswered_challenges, 0);
    assert!(world.mailbox.logins().iter().all(|login| !login.welcome && login.token_id.is_none()));
    Ok(())
}

#[tokio::test]
async fn expired_revoked_and_foreign_tokens_open_nothing() -> Result<()> {
    let world = World::new().await?;
    world.mailbox.change(|settings| settings.challenge = false);
    let try_with = async |token: &str| -> Result<String> {
        let mut speaker = world.imap().await?;
        let response = sasl::response(Mechanism::Xoauth2, ALICE, token);
        speaker.ask(&format!("a AUTHENTICATE XOAUTH2 {response}")).await
    };
    let (revoked, mut tokens) = (world.token(ALICE), vec![world.token(BOB)]);
    world.provider.revoke_user(ALICE);
    tokens.push(revoked);
    tokens.push(world.provider.issue(ALICE, "mail").refresh.map(|it| it.token).unwrap_or_default());
    for token in &tokens {
        assert!(try_with(token).await?.starts_with("a NO [AUTHENTICATIONFAILED]"), "{token}");
    }
    let live = world.token(ALICE);
    assert!(try_with(&live).await?.starts_with("a OK"));
    world.provider.advance(Duration::from_secs(3600));
    assert!(try_with(&live).await?.starts_with("a NO [AUTHENTICATIONFAILED]"));
    Ok(())
}

#[tokio::test]
async fn a_mail_is_fetched_byte_for_byte() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.inbox().await?;
    speaker.send("c FETCH 1 (UID BODY[])").await?;
    speaker.expect(&format!("* 1 FETCH (FLAGS (\\Seen) UID 1 BODY[] {{{}}}", MAIL.len())).await?;
    assert_eq!(speaker.bytes(MAIL.len()).await?, MAIL.as_bytes());
    speaker.expect(")").await?;
    speaker.expect("c OK").await?;
    speaker
        .send("d UID FETCH 1:* (FLAGS ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)]<0.9>)")
        .await?;
    let lines = speaker.until("d OK").await?.join("\n");
    assert!(lines.contains("FLAGS (\\Seen)"), "{lines}");
    assert!(lines.contains("((\"Bob\" NIL \"bob\" \"example.test\"))"), "{lines}");
    assert!(lines.contains("BODY[HEADER.FIELDS (SUBJECT)]<0> {9}\nSubject: )"), "{lines}");
    Ok(())
}

#[tokio::test]
async fn search_store_copy_and_expunge_agree_with_each_other() -> Result<()> {
    let world = World::new().await?;
    world.mailbox.deliver(ALICE, "Subject: second\r\n\r\nx\r\n")?;
    let mut speaker = world.inbox().await?;
    assert_eq!(speaker.ask("c SEARCH NOT SUBJECT \"second\" UNSEEN").await?, "* SEARCH 1");
    speaker.expect("c OK").await?;
    assert_eq!(speaker.ask("d STORE 1 +FLAGS (\\Deleted)").await?, "* 1 FETCH (FLAGS (\\Deleted))");
    speaker.expect("d OK").await?;
    speaker.send("e UID COPY 1 Trash").await?;
    speaker.expect("e OK").await?;
    assert_eq!(speaker.ask("f EXPUNGE").await?, "* 1 EXPUNGE");
    speaker.expect("f OK").await?;
    assert_eq!(speaker.ask("g UID SEARCH ALL").await?, "* SEARCH 2");
    speaker.expect("g OK").await?;
    assert_eq!(
        speaker.ask("h STATUS Trash (MESSAGES UIDNEXT)").await?,
        "* STATUS \"Trash\" (MESSAGES 1 UIDNEXT 2)"
    );
    Ok(())
}

#[tokio::test]
async fn idle_tells_of_new_mail() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.inbox().await?;
    speaker.send("c IDLE").await?;
    speaker.expect("+ ").await?;
    world.mailbox.deliver(ALICE, MAIL)?;
    speaker.expect("* 2 EXISTS").await?;
    speaker.send("DONE").await?;
    speaker.expect("c OK").await?;
    Ok(())
}

#[tokio::test]
async fn append_takes_literals_of_both_kinds() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.inbox().await?;
    speaker.send(&format!("c APPEND Sent (\\Seen) {{{}}}", MAIL.len())).await?;
    speaker.expect("+ ").await?;
    speaker.send(MAIL).await?;
    speaker.expect("c OK [APPENDUID 1 1]").await?;
    speaker.send(&format!("d APPEND Sent {{{}+}}\r\n{MAIL}", MAIL.len())).await?;
    speaker.expect("d OK").await?;
    assert!(
        world.mailbox.store().mails(ALICE, "Sent").iter().all(|mail| **mail == *MAIL.as_bytes())
    );
    Ok(())
}

#[tokio::test]
async fn starttls_works_and_plain_text_sent_ahead_of_it_ends_the_connection() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.imap().await?;
    assert_eq!(speaker.ask("a STARTTLS").await?, "a OK Begin TLS");
    let mut speaker = speaker.start_tls(&world.ca).await?;
    let offer = speaker.ask("b CAPABILITY").await?;
    assert!(offer.contains("AUTH=XOAUTH2") && !offer.contains("STARTTLS"), "{offer}");
    let mut injected = world.imap().await?;
    injected.send_bytes(b"a STARTTLS\r\nb NOOP\r\n").await?;
    injected.expect("a OK").await?;
    assert_eq!(injected.closed().await?, "");
    Ok(())
}

#[tokio::test]
async fn implicit_tls_greets_after_the_handshake() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = Speaker::connect_tls(world.mailbox.addresses().imaps, &world.ca).await?;
    speaker.expect("* OK").await?;
    assert_eq!(world.mailbox.stats().tls, 1);
    Ok(())
}

#[tokio::test]
async fn trouble_is_made_as_often_as_told_and_never_blamed_on_the_token() -> Result<()> {
    let world = World::new().await?;
    let response = sasl::response(Mechanism::Xoauth2, ALICE, &world.token(ALICE));
    let login = format!("a AUTHENTICATE XOAUTH2 {response}");
    world.mailbox.trouble(Trouble::Unavailable, Some(1));
    assert!(world.imap().await?.ask(&login).await?.starts_with("a NO [UNAVAILABLE]"));
    assert!(world.imap().await?.ask(&login).await?.starts_with("a OK"), "once means once");
    world.mailbox.trouble(Trouble::Limit, Some(1));
    let mut limited = world.imap().await?;
    assert!(limited.ask(&login).await?.starts_with("+ "), "Gmail challenges here too");
    assert!(limited.ask("").await?.starts_with("a NO [LIMIT]"));
    world.mailbox.trouble(Trouble::Drop, Some(1));
    let mut dropped = world.imap().await?;
    dropped.send(&login).await?;
    assert_eq!(dropped.closed().await?, "");
    world.mailbox.trouble(Trouble::Busy, Some(1));
    Speaker::connect(world.mailbox.addresses().imap).await?.expect("* BYE").await?;
    world.mailbox.trouble(Trouble::NotConnected, Some(1));
    let mut disconnected = world.imap().await?;
    disconnected.send(&login).await?;
    disconnected.expect("a OK").await?;
    disconnected.send("b NOOP").await?;
    disconnected.expect("b BAD User is authenticated but not connected").await?;
    Ok(())
}

#[tokio::test]
async fn a_session_ends_with_its_token_where_told() -> Result<()> {
    let world = World::new().await?;
    world.mailbox.change(|settings| settings.ends_with_token = true);
    let (mut idle, mut busy) = (world.inbox().await?, world.inbox().await?);
    idle.send("c IDLE").await?;
    idle.expect("+ ").await?;
    world.provider.advance(Duration::from_secs(3600));
    idle.expect("* BYE Session invalidated - AccessTokenExpired").await?;
    busy.send("c NOOP").await?;
    busy.expect("* BYE").await?;
    Ok(())
}

#[tokio::test]
async fn endless_lines_and_literal_bombs_end_the_connection() -> Result<()> {
    let world = World::new().await?;
    let mut line = world.imap().await?;
    // The server may hang up before all of it is sent.
    drop(line.send_bytes(&vec![b'x'; 1024 * 1024]).await);
    assert!(!line.closed().await?.contains("OK"));
    let mut literal = world.imap().await?;
    literal.send("a LOGIN {999999999+}").await?;
    literal.expect("* BYE [TOOBIG]").await?;
    Ok(())
}

#[tokio::test]
async fn servers_of_other_makes_can_be_played() -> Result<()> {
    let world = World::new().await?;
    let response = sasl::response(Mechanism::Xoauth2, ALICE, &world.token(ALICE));
    world.mailbox.change(|settings| {
        settings.greeting_capability = false;
        settings.sasl_ir = false;
        settings.mechanisms = vec![Mechanism::Xoauth2];
    });
    let mut speaker = Speaker::connect(world.mailbox.addresses().imap).await?;
    assert_eq!(speaker.line().await?, "* OK fake.test ready");
    let offer = speaker.ask("a CAPABILITY").await?;
    assert!(!offer.contains("SASL-IR") && !offer.contains("OAUTHBEARER"), "{offer}");
    speaker.expect("a OK").await?;
    assert!(speaker.ask(&format!("b AUTHENTICATE XOAUTH2 {response}")).await?.starts_with("b BAD"));
    assert!(speaker.ask("c AUTHENTICATE OAUTHBEARER").await?.starts_with("c NO [CANNOT]"));
    world.mailbox.change(|settings| settings.plain_login = false);
    assert!(speaker.ask("d AUTHENTICATE XOAUTH2").await?.starts_with("d NO [PRIVACYREQUIRED]"));
    world.mailbox.trouble(Trouble::DropGreeting, Some(1));
    assert_eq!(Speaker::connect(world.mailbox.addresses().imap).await?.closed().await?, "");
    Ok(())
}
