//! A broker that was killed and started again goes on as if nothing had been.

use anyhow::Result;
use e2e::world::{ALICE, BOB, Engine, Owner, World, letter};
use token_broker_client::v1::ConsentState;

#[tokio::test]
async fn tokens_are_served_credentials_work_and_nothing_is_refreshed() -> Result<()> {
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).start().await?;
        world.mailbox.deliver(ALICE, &letter(BOB, ALICE, "before the cut"))?;
        let client = world.client(ALICE).await?;
        let service = world.service("crm").await?;
        let before = service.access_token(ALICE).await?;
        for _ in 0..3 {
            world.house.crash().await?;
            let after = service.access_token(ALICE).await?;
            assert_eq!(before.expose(), after.expose());
            client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
            client.curl_smtp(BOB, &letter(ALICE, BOB, "after the cut")).await?.ok()?;
        }
        assert_eq!(world.refreshes(), 0);
        assert_eq!(world.mailbox.store().mails(BOB, "INBOX").len(), 3);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_login_right_after_a_restart_works() -> Result<()> {
    let mut world = World::start().await?;
    let client = world.client(ALICE).await?;
    for _ in 0..5 {
        world.house.crash().await?;
        client.curl_imap("").await?.ok()?;
        world.house.crash().await?;
        client.curl_smtp(BOB, &letter(ALICE, BOB, "at once")).await?.ok()?;
    }
    world.end().await
}

#[tokio::test]
async fn a_consent_under_way_can_be_finished_after_a_power_cut() -> Result<()> {
    let mut world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(e2e::world::APP, ALICE).await?;
    let mut owner = Owner::of(ALICE)?;
    let page = owner.walk_to_provider(&invitation.uri).await?;
    world.house.crash().await?;
    let end = owner.click_through(page, "allow").await?;
    assert!(end.status.is_success(), "{}", end.text);
    let consent = world.operator.consent(&invitation.name).await?;
    assert_eq!(consent.state(), ConsentState::Finished);
    world.end().await
}

#[tokio::test]
async fn a_relayed_session_lives_on_while_the_broker_is_away() -> Result<()> {
    let mut world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut speaker = world.speak("imap").await?;
    speaker.expect("* OK").await?;
    speaker.send(&format!("a LOGIN {ALICE} {password}")).await?;
    speaker.completed("a").await?;
    world.house.crash().await?;
    speaker.send("b SELECT INBOX").await?;
    speaker.until("b OK").await?;
    world.end().await
}
