//! How sessions end that were taken back, or whose adapter is cut off.

use std::sync::Arc;
use std::time::Duration;

use adapter_testkit::eventually;
use adapter_testkit::v1::SessionEndReason;

use crate::server::{After, Manners};
use crate::world::{World, login};

async fn watching(world: &World) {
    eventually(|| world.broker.memory().ends.receiver_count() > 0).await;
}

async fn told_of_the_end(world: &World, reason: SessionEndReason) {
    let ended = |world: &World| {
        let memory = world.broker.memory();
        memory.reports.iter().any(|told| told.ended && told.end_reason() == reason)
    };
    eventually(|| ended(world)).await;
}

#[tokio::test]
async fn a_session_that_was_taken_back_gets_a_bye_that_says_who_has_to_act() {
    let world = World::new(Manners::default()).await;
    watching(&world).await;
    for (reason, words) in [
        (SessionEndReason::Revoked, "* BYE Access to this mailbox was withdrawn\r\n"),
        (
            SessionEndReason::NeedsConsent,
            "* BYE The owner of this mailbox has to consent again\r\n",
        ),
        (SessionEndReason::Operator, "* BYE Closed by an administrator, please connect again\r\n"),
    ] {
        let mut session = world.logged_in().await;
        session.say("b NOOP\r\n").await;
        assert_eq!(session.line().await, "b OK done");
        world.broker.end(reason);
        assert_eq!(String::from_utf8(session.rest().await).unwrap(), words);
        told_of_the_end(&world, reason).await;
    }
}

#[tokio::test]
async fn an_end_that_comes_before_its_session_is_obeyed_when_it_begins() {
    let world = World::new(Manners::default()).await;
    watching(&world).await;
    world.broker.end(SessionEndReason::Revoked);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut client = world.client().await;
    client.line().await;
    client.say(&login()).await;
    let said = String::from_utf8(client.rest().await).unwrap();
    assert!(said.ends_with("* BYE Access to this mailbox was withdrawn\r\n"), "{said}");
    assert_eq!(world.broker.memory().opened.len(), 1);
}

#[tokio::test]
async fn no_bye_is_put_into_a_literal() {
    let half = b"* 1 FETCH (BODY[] {5000}\r\na OK this is mail, not an answer\r\n".to_vec();
    let manners = Manners { after: After::Stuck(Arc::new(half.clone())), ..Manners::default() };
    let world = World::new(manners).await;
    watching(&world).await;
    let mut session = world.logged_in().await;
    for expected in half.split_inclusive(|byte| *byte == b'\n') {
        assert_eq!(session.raw_line().await.as_bytes(), expected);
    }
    world.broker.end(SessionEndReason::Revoked);
    assert_eq!(session.rest().await, b"");
    told_of_the_end(&world, SessionEndReason::Revoked).await;
}

#[tokio::test]
async fn an_adapter_that_hears_nothing_ends_its_sessions_and_admits_nobody_until_it_does() {
    let orphan_ttl = Duration::from_secs(1);
    let world = World::with(Manners::default(), |it| it.limits.orphan_ttl = orphan_ttl).await;
    watching(&world).await;
    let mut session = world.logged_in().await;
    world.broker.memory().checkpoints = 0;
    world.broker.memory().deaf = true;
    let said = String::from_utf8(session.rest().await).unwrap();
    assert_eq!(said, "* BYE Temporarily unavailable, please connect again\r\n");
    let mut client = world.client().await;
    client.line().await;
    client.say(&login()).await;
    let refused = client.line().await;
    assert!(refused.starts_with("a NO [UNAVAILABLE]"), "{refused}");
    assert_eq!(world.broker.memory().opened.len(), 1, "the broker was not even asked");
    world.broker.memory().checkpoints = usize::MAX;
    world.broker.memory().deaf = false;
    let from = world.broker.memory().watched.len();
    eventually(|| world.broker.memory().watched.len() > from).await;
    let again = async {
        loop {
            client.say(&login()).await;
            if client.line().await.starts_with("a OK") {
                return;
            }
            client = world.client().await;
            client.line().await;
        }
    };
    tokio::time::timeout(adapter_testkit::PATIENCE, again).await.expect("logins work again");
}

#[tokio::test]
async fn a_watch_that_breaks_is_resumed_where_it_was() {
    let world = World::new(Manners::default()).await;
    world.broker.memory().deaf = true;
    eventually(|| world.broker.memory().watched.len() >= 2).await;
    world.broker.memory().deaf = false;
    watching(&world).await;
    let mut session = world.logged_in().await;
    world.broker.memory().checkpoints = 0;
    world.broker.end(SessionEndReason::Operator);
    session.rest().await;
    let before = world.broker.memory().watched.len();
    world.broker.memory().deaf = true;
    eventually(|| world.broker.memory().watched.len() > before).await;
    assert_eq!(world.broker.memory().watched.last().unwrap(), "c-end");
}

#[tokio::test]
async fn an_adapter_that_may_not_any_more_ends_everything() {
    let world = World::new(Manners::default()).await;
    watching(&world).await;
    let mut sessions = [world.logged_in().await, world.logged_in().await];
    world.broker.memory().revoked = true;
    for session in &mut sessions {
        assert_eq!(session.rest().await, b"* BYE Access to this mailbox was withdrawn\r\n");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_watch_yet_is_no_reason_to_end_anything() {
    let orphan_ttl = Duration::from_secs(1);
    let world = World::with(Manners::default(), |it| it.limits.orphan_ttl = orphan_ttl).await;
    world.broker.memory().old = true;
    let mut session = world.logged_in().await;
    let before = world.broker.memory().watched.len();
    eventually(|| world.broker.memory().watched.len() > before + 1).await;
    session.say("b NOOP\r\n").await;
    assert_eq!(session.line().await, "b OK done");
}
