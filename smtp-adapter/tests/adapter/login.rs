//! Logins over sockets, and who is blamed when they fail.

use adapter_testkit::v1::DenialClass;
use adapter_testkit::{Client, denial, xoauth2};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use crate::server::Manners;
use crate::world::{Replies, World, login, login_with};

const MAIL: &str = "MAIL FROM:<ann@example.com>\r\n";

/// What is answered to a login, EHLO aside.
async fn answer(world: &World, login: &str) -> (Client<TcpStream>, String) {
    let mut client = world.client().await;
    client.say(login).await;
    assert!(client.reply().await.starts_with("250-localhost\r\n"));
    let answer = client.reply().await;
    (client, answer)
}

#[tokio::test]
async fn an_ordinary_login_reaches_the_server_and_pipelined_mail_follows() {
    let world = World::new(Manners::default()).await;
    let (mut client, answer) = answer(&world, &(login() + MAIL)).await;
    assert!(answer.starts_with("235 2.7.0 "), "{answer}");
    assert_eq!(client.reply().await, MAIL);
    let heard = world.server.before_login.lock().unwrap().clone();
    assert_eq!(heard, ["EHLO [127.0.0.1]".to_owned(), "AUTH XOAUTH2".to_owned(), xoauth2("tok-1")]);
    assert_eq!(*world.server.after_login.lock().unwrap(), MAIL.as_bytes());
}

#[tokio::test]
async fn the_server_is_told_the_name_of_the_settings() {
    let world = World::with(Manners::default(), |settings| {
        settings.upstream.helo_name = "relay.example.com".to_owned();
    })
    .await;
    let (_client, answer) = answer(&world, &login()).await;
    assert!(answer.starts_with("235 "), "{answer}");
    assert_eq!(world.server.before_login.lock().unwrap()[0], "EHLO relay.example.com");
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_the_administrators() {
    let world = World::new(Manners { token: "never", ..Manners::default() }).await;
    world.broker.memory().tokens = vec!["tok-1", "tok-2"];
    let (_client, answer) = answer(&world, &login()).await;
    assert!(answer.starts_with("454 4.7.0 "), "{answer}");
    assert_eq!(world.broker.memory().renewed.len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_tried_again() {
    let world = World::new(Manners { token: "tok-2", ..Manners::default() }).await;
    world.broker.memory().tokens = vec!["tok-1", "tok-2"];
    let (_, answer) = answer(&world, &login()).await;
    assert!(answer.starts_with("235 "), "{answer}");
    let renewed = world.broker.memory().renewed.clone();
    assert_eq!(renewed.len(), 1);
    assert_eq!(renewed[0].rejected_secret_hash, Sha256::digest(b"tok-1").to_vec());
}

#[tokio::test]
async fn a_server_that_is_busy_costs_no_token_and_no_password() {
    for (refusal, code) in [
        ("454 4.7.0 Temporary authentication failure\r\n", "454 4.7.0 "),
        ("421 4.7.0 Too many concurrent connections\r\n", "421 4.7.0 "),
    ] {
        let world = World::new(Manners { token: "another", refusal }).await;
        let (_, answer) = answer(&world, &login()).await;
        assert!(answer.starts_with(code), "{answer}");
        assert!(world.broker.memory().renewed.is_empty());
    }
}

#[tokio::test]
async fn each_denial_of_the_broker_has_its_answer_and_dials_nobody() {
    for (class, code) in [
        (DenialClass::BadCredential, "535 5.7.8 "),
        (DenialClass::NeedsConsent, "535 5.7.8 "),
        (DenialClass::ContactAdmin, "454 4.7.0 "),
        (DenialClass::Unavailable, "454 4.7.0 "),
    ] {
        let world = World::new(Manners::default()).await;
        world.broker.memory().denial = denial(class);
        let (_, answer) = answer(&world, &login_with("tb_wrong")).await;
        assert!(answer.starts_with(code), "{class:?}: {answer}");
        assert!(world.server.before_login.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn after_the_first_login_ehlo_shows_what_the_server_has() {
    let world = World::new(Manners::default()).await;
    let (_client, first) = answer(&world, &login()).await;
    assert!(first.starts_with("235 "), "{first}");
    let mut client = world.client().await;
    client.say("EHLO client\r\n").await;
    assert_eq!(
        client.reply().await,
        "250-localhost\r\n250-SIZE 1000\r\n250-DSN\r\n250 AUTH PLAIN LOGIN\r\n"
    );
}

#[tokio::test]
async fn at_a_stop_everybody_is_told() {
    let world = World::new(Manners::default()).await;
    let mut waiting = world.client().await;
    let (mut session, _) = answer(&world, &login()).await;
    let World { adapter, .. } = world;
    assert!(adapter.stop().await, "all connections ended in time");
    for client in [&mut waiting, &mut session] {
        assert!(client.rest().await.starts_with(b"421 4.3.2 "));
    }
}
