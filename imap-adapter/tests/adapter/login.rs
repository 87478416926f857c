//! Logins, and who is blamed when they fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter_core::adapter::Adapter;
use adapter_testkit::v1::{DenialClass, MailProtocol, TlsMode, UpstreamLogin};
use adapter_testkit::{
    Broker, Client, KEY, NAME, PATIENCE, denial, eventually, nobody, settings, xoauth2,
};
use imap_adapter::Imap;
use sha2::{Digest, Sha256};
use token_broker_client::Options;
use tokio::io::{AsyncWriteExt, split};
use tokio::net::TcpListener;

use crate::server::{After, Manners, Server};
use crate::world::{World, login};

#[tokio::test]
async fn an_ordinary_login_reaches_the_mailbox() {
    let world = World::new(Manners::default()).await;
    let mut client = world.client().await;
    assert_eq!(
        client.line().await,
        "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN] localhost ready"
    );
    client.say(&login()).await;
    assert_eq!(client.line().await, "a OK [CAPABILITY IMAP4rev1 IDLE] Logged in");
    client.say("b SELECT INBOX\r\n").await;
    assert_eq!(client.line().await, "b OK done");
    drop(client);
    let asked = world.broker.memory().opened[0].clone();
    assert_eq!((asked.login_name.as_str(), asked.client_address.as_str()), (NAME, "127.0.0.1"));
    eventually(|| world.broker.memory().reports.iter().any(|report| report.ended)).await;
    let reports = world.broker.memory().reports.clone();
    let (up, down) = reports
        .iter()
        .fold((0, 0), |(up, down), report| (up + report.bytes_up, down + report.bytes_down));
    assert_eq!((up, down), (16, 11));
    assert!(reports.iter().all(|report| report.login() == UpstreamLogin::Accepted));
}

#[tokio::test]
async fn bytes_around_the_login_arrive_where_they_belong() {
    let manners = Manners { at_once: b"* 3 EXISTS\r\n", ..Manners::default() };
    let world = World::new(manners).await;
    let mut client = world.client().await;
    client.line().await;
    client.say(&format!("{}b NOOP\r\n", login())).await;
    assert!(client.line().await.starts_with("a OK "));
    assert_eq!(client.line().await, "* 3 EXISTS");
    assert_eq!(client.line().await, "b OK done");
    assert_eq!(world.server.heard.lock().unwrap().after_login, b"b NOOP\r\n");
}

#[tokio::test]
async fn not_a_byte_is_changed_after_login() {
    let noise = |seed: u32, length: usize| -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    };
    let (up, down) = (noise(1, 3_000_000), noise(2, 2_000_000));
    let manners = Manners { after: After::Bytes(Arc::new(down.clone())), ..Manners::default() };
    let world = World::new(manners).await;
    let (reader, mut writer) = split(world.logged_in().await.0);
    let sent = up.clone();
    tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut client = Client(tokio::io::join(reader, tokio::io::sink()));
    assert!(client.rest().await == down);
    eventually(|| !world.server.heard.lock().unwrap().after_login.is_empty()).await;
    assert!(world.server.heard.lock().unwrap().after_login == up);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_tried_again() {
    let world = World::new(Manners { token: "tok-2", ..Manners::default() }).await;
    world.broker.memory().tokens = vec!["tok-1", "tok-2"];
    world.logged_in().await;
    let renewed = world.broker.memory().renewed.clone();
    assert_eq!(renewed.len(), 1);
    assert_eq!(renewed[0].rejected_secret_hash, Sha256::digest(b"tok-1").to_vec());
    let heard = world.server.heard.lock().unwrap().before_login.clone();
    assert!(heard.contains(&xoauth2("tok-2")));
}

async fn answer(world: &World, login: &str) -> String {
    let mut client = world.client().await;
    client.line().await;
    client.say(login).await;
    client.line().await
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_not_the_users_fault() {
    let world = World::new(Manners { token: "never", ..Manners::default() }).await;
    world.broker.memory().tokens = vec!["tok-1", "tok-2"];
    let answer = answer(&world, &login()).await;
    assert!(answer.starts_with("a NO [CONTACTADMIN] "), "{answer}");
    assert_eq!(world.broker.memory().renewed.len(), 1);
    eventually(|| !world.broker.memory().reports.is_empty()).await;
    assert_eq!(world.broker.memory().reports[0].login(), UpstreamLogin::Refused);
}

#[tokio::test]
async fn a_broker_that_has_no_other_token_says_why() {
    let world = World::new(Manners { token: "never", ..Manners::default() }).await;
    let answer = answer(&world, &login()).await;
    assert!(
        answer.starts_with("a NO [AUTHENTICATIONFAILED] The owner of this mailbox"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_wrong_credential_is_answered_after_its_delay_and_without_dialling() {
    let world = World::new(Manners::default()).await;
    let delay = prost_types::Duration { seconds: 0, nanos: 300_000_000 };
    world.broker.memory().denial.delay = Some(delay);
    let begun = Instant::now();
    let answer = answer(&world, "a LOGIN x y\r\n").await;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED] "), "{answer}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(world.server.heard.lock().unwrap().connections, 0);
}

#[tokio::test]
async fn every_denial_has_its_answer() {
    let world = World::new(Manners::default()).await;
    for (class, code) in [
        (DenialClass::NeedsConsent, "AUTHENTICATIONFAILED"),
        (DenialClass::ContactAdmin, "CONTACTADMIN"),
        (DenialClass::Unavailable, "UNAVAILABLE"),
        (DenialClass::Limit, "LIMIT"),
    ] {
        world.broker.memory().denial = denial(class);
        let answer = answer(&world, "a LOGIN x y\r\n").await;
        assert!(answer.starts_with(&format!("a NO [{code}] ")), "{answer}");
    }
}

#[tokio::test]
async fn while_the_broker_is_away_nobody_is_told_of_a_wrong_password_and_it_recovers_by_itself() {
    let address = nobody().await;
    let server = Server::start(Manners::default()).await;
    let adapter = Adapter::start(Imap, settings(address)).await.unwrap();
    let broker = Broker::new(MailProtocol::Imap, server.address);
    let world = World { adapter, broker, server };
    let refused = answer(&world, &login()).await;
    assert!(refused.starts_with("a NO [UNAVAILABLE] "), "{refused}");
    world.broker.serve(TcpListener::bind(address).await.unwrap());
    // A failed dial stands for a moment.
    let until_let_in = async {
        while let refused = answer(&world, &login()).await
            && !refused.starts_with("a OK ")
        {
            assert!(refused.starts_with("a NO [UNAVAILABLE] "), "{refused}");
        }
    };
    tokio::time::timeout(PATIENCE, until_let_in).await.expect("it to recover in time");
}

#[tokio::test]
async fn another_endpoint_is_asked_when_the_first_is_away() {
    let server = Server::start(Manners::default()).await;
    let broker = Broker::new(MailProtocol::Imap, server.address);
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    broker.serve(place);
    let mut settings = settings(address);
    let away = Options::new(format!("http://{}", nobody().await));
    settings.broker = away.endpoint(format!("http://{address}")).api_key(KEY);
    let adapter = Adapter::start(Imap, settings).await.unwrap();
    let world = World { adapter, broker, server };
    world.logged_in().await;
    world.logged_in().await;
    assert_eq!(world.broker.memory().opened.len(), 2);
}

#[tokio::test]
async fn a_broker_that_hangs_is_not_waited_for() {
    let world = World::new(Manners::default()).await;
    world.broker.memory().hangs = true;
    let answer = answer(&world, &login()).await;
    assert!(answer.starts_with("a NO [UNAVAILABLE] "), "{answer}");
}

#[tokio::test]
async fn a_key_the_broker_does_not_take_is_the_operators_fault() {
    let world = World::with(Manners::default(), |settings| {
        settings.broker = settings.broker.clone().api_key("tbk_other");
    })
    .await;
    let answer = answer(&world, &login()).await;
    assert!(answer.starts_with("a NO [CONTACTADMIN] "), "{answer}");
}

#[tokio::test]
async fn a_server_that_is_away_or_must_not_be_dialled_is_nobodys_password() {
    let world = World::new(Manners::default()).await;
    for (host, port) in [("192.0.2.1", 143), ("127.0.0.1", 1)] {
        {
            let mut memory = world.broker.memory();
            memory.upstream.host = host.to_owned();
            memory.upstream.port = port;
            memory.upstream.tls = TlsMode::PlainLoopback.into();
        }
        let answer = answer(&world, &login()).await;
        assert!(answer.starts_with("a NO [UNAVAILABLE] "), "{answer}");
    }
}
