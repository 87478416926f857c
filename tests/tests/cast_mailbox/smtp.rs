//! SMTP submission, line by line.

use anyhow::Result;
use e2e::cast::mailbox::sasl;
use e2e::cast::mailbox::settings::{Mechanism, Trouble};
use e2e::cast::speaker::Speaker;

use crate::world::{ALICE, BOB, World};

async fn logged_in(world: &World) -> Result<Speaker> {
    let mut speaker = world.smtp().await?;
    let response = sasl::response(Mechanism::Xoauth2, BOB, &world.token(BOB));
    speaker.send(&format!("AUTH XOAUTH2 {response}")).await?;
    speaker.expect("235").await?;
    Ok(speaker)
}

#[tokio::test]
async fn a_mail_sent_is_a_mail_received_dots_and_all() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = logged_in(&world).await?;
    for command in [format!("MAIL FROM:<{BOB}> SIZE=99"), format!("RCPT TO:<{ALICE}>")] {
        speaker.send(&command).await?;
        speaker.expect("250").await?;
    }
    speaker.send("DATA").await?;
    speaker.expect("354").await?;
    speaker.send("Subject: dots\r\n\r\n..one\r\n.").await?;
    speaker.expect("250").await?;
    let mails = world.mailbox.store().mails(ALICE, "INBOX");
    assert_eq!(
        mails.last().map(|mail| mail.to_vec()),
        Some(b"Subject: dots\r\n\r\n.one\r\n".to_vec())
    );
    assert_eq!(world.mailbox.stats().delivered, 1);
    Ok(())
}

#[tokio::test]
async fn both_mechanisms_let_in_in_two_steps() -> Result<()> {
    let world = World::new().await?;
    for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        let mut speaker = world.smtp().await?;
        assert_eq!(speaker.ask(&format!("AUTH {}", mechanism.name())).await?, "334 ");
        speaker.send(&sasl::response(mechanism, BOB, &world.token(BOB))).await?;
        speaker.expect("235").await?;
        assert!(speaker.ask("AUTH XOAUTH2").await?.starts_with("503"));
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_token_gets_the_challenge_first_and_535_after_the_empty_response() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.smtp().await?;
    let response = sasl::response(Mechanism::Xoauth2, BOB, "never-issued");
    assert!(speaker.ask(&format!("AUTH XOAUTH2 {response}")).await?.starts_with("334 eyJ"));
    assert!(speaker.ask("").await?.starts_with("535 5.7.8"));
    assert!(speaker.ask(&format!("AUTH XOAUTH2 {response}")).await?.starts_with("334 eyJ"));
    assert!(speaker.ask("NOOP").await?.starts_with("535"));
    assert_eq!(world.mailbox.stats().unanswered_challenges, 1, "a command is no empty response");
    assert!(speaker.ask("MAIL FROM:<a@b>").await?.starts_with("530"));
    Ok(())
}

#[tokio::test]
async fn starttls_and_implicit_tls_both_lead_to_ehlo() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = world.smtp().await?;
    speaker.send("STARTTLS").await?;
    speaker.expect("220").await?;
    let mut speaker = speaker.start_tls(&world.ca).await?;
    assert!(speaker.ask("AUTH XOAUTH2").await?.starts_with("503"), "EHLO is to be said again");
    speaker.send("EHLO test").await?;
    let offer = speaker.until("250 ").await?;
    assert!(!offer.iter().any(|line| line.contains("STARTTLS")), "{offer:?}");
    let mut implicit = Speaker::connect_tls(world.mailbox.addresses().smtps, &world.ca).await?;
    implicit.expect("220").await?;
    Ok(())
}

#[tokio::test]
async fn trouble_is_temporary_on_the_wire() -> Result<()> {
    let world = World::new().await?;
    let login =
        format!("AUTH XOAUTH2 {}", sasl::response(Mechanism::Xoauth2, BOB, &world.token(BOB)));
    world.mailbox.trouble(Trouble::Unavailable, Some(1));
    assert!(world.smtp().await?.ask(&login).await?.starts_with("454 4.7.0"));
    world.mailbox.trouble(Trouble::Limit, Some(1));
    assert!(world.smtp().await?.ask(&login).await?.starts_with("421 4.7.0"));
    world.mailbox.trouble(Trouble::Busy, Some(1));
    Speaker::connect(world.mailbox.addresses().smtp).await?.expect("421").await?;
    Ok(())
}

#[tokio::test]
async fn rset_forgets_the_mail_and_nothing_else() -> Result<()> {
    let world = World::new().await?;
    let mut speaker = logged_in(&world).await?;
    assert!(speaker.ask("MAIL FROM:<a@b>").await?.starts_with("250"));
    assert!(speaker.ask("RSET").await?.starts_with("250"));
    assert!(speaker.ask("RCPT TO:<a@b>").await?.starts_with("503"));
    assert!(speaker.ask("MAIL FROM:<a@b>").await?.starts_with("250"));
    assert!(speaker.ask("QUIT").await?.starts_with("221"));
    assert_eq!(speaker.closed().await?, "");
    Ok(())
}
