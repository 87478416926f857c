//! Who is let in, and how long one may stay without a login.

use std::time::Duration;

use adapter_core::adapter::Adapter;
use adapter_core::settings::ListenerTls;
use adapter_testkit::{Client, PATIENCE, eventually, listener, nobody, settings};
use imap_adapter::Imap;
use tokio::net::TcpStream;

use crate::server::Manners;
use crate::world::{World, login};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let world = World::new(Manners::default()).await;
    let taken = world.adapter.addresses[0];
    let mut settings = settings(taken);
    settings.listeners[0].address = taken;
    let error = Adapter::start(Imap, settings).await.err().unwrap().to_string();
    let begin = format!("listener.address: cannot listen on {taken}: the port is in use");
    assert!(error.starts_with(&begin), "{error}");
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_shown_out() {
    let world = World::with(Manners::default(), |settings| {
        settings.limits.login = Duration::from_millis(200);
    })
    .await;
    let mut client = world.client().await;
    client.line().await;
    assert_eq!(client.rest().await, b"* BYE Too slow to log in\r\n");
}

#[tokio::test]
async fn one_address_cannot_hold_all_places_but_its_logged_in_clients_do_not_count() {
    let world = World::with(Manners::default(), |settings| {
        settings.limits.unauthenticated_per_ip = 1;
    })
    .await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    // Whichever came second is hung up on.
    let (heard, other) = tokio::join!(first.line(), second.line());
    assert!(heard.is_empty() != other.is_empty(), "{heard:?} {other:?}");
    drop((first, second));
    let mut client = greeted(&world).await;
    client.say(&login()).await;
    assert!(client.line().await.starts_with("a OK "));
    greeted(&world).await;
}

#[tokio::test]
async fn a_mebibyte_without_a_line_end_is_not_read_to_its_end() {
    let world = World::new(Manners::default()).await;
    let mut client = world.client().await;
    client.line().await;
    let (mut reader, mut writer) = tokio::io::split(client.0);
    let flood = tokio::spawn(async move {
        // Hung up on while writing, most likely.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut writer, &vec![b'a'; 1 << 20]).await;
    });
    let mut heard = [0; 6];
    let first = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut heard);
    tokio::time::timeout(PATIENCE, first).await.expect("an answer in time").unwrap();
    assert_eq!(&heard, b"* BYE ");
    tokio::time::timeout(PATIENCE, flood).await.expect("an end in time").unwrap();
    assert!(world.broker.memory().opened.is_empty());
    greeted(&world).await;
}

/// A client that was let in, as soon as there is room.
async fn greeted(world: &World) -> Client<TcpStream> {
    let knock = async {
        loop {
            let mut client = world.client().await;
            if client.line().await.starts_with("* OK ") {
                return client;
            }
        }
    };
    tokio::time::timeout(PATIENCE, knock).await.expect("room in time")
}

#[tokio::test]
async fn a_listed_load_balancer_tells_the_clients_address() {
    let world = World::with(Manners::default(), |settings| {
        settings.listeners[0].proxy_protocol = Some(vec!["127.0.0.0/8".parse().unwrap()]);
        let mut strange = listener(ListenerTls::Plain);
        strange.proxy_protocol = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        settings.listeners.push(strange);
    })
    .await;
    let mut client = world.client().await;
    client.say("PROXY TCP4 192.0.2.7 127.0.0.1 5000 143\r\n").await;
    assert!(client.line().await.starts_with("* OK "));
    client.say(&login()).await;
    assert!(client.line().await.starts_with("a OK "));
    assert_eq!(world.broker.memory().opened[0].client_address, "192.0.2.7");

    let mut silent = world.client().await;
    silent.say("a NOOP\r\nb NOOP\r\n").await;
    assert!(silent.rest().await.is_empty(), "without a header nobody is greeted");
    let mut stranger = Client::connect(world.adapter.addresses[1]).await;
    let _ = tokio::io::AsyncWriteExt::write_all(
        &mut stranger.0,
        b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 143\r\n",
    )
    .await;
    assert!(stranger.rest().await.is_empty(), "a stranger is not believed");
}

async fn fetch(world: &World, path: &str) -> String {
    let mut client = Client::connect(world.adapter.ops.unwrap()).await;
    client.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    String::from_utf8(client.rest().await).unwrap()
}

#[tokio::test]
async fn operators_see_health_and_counts() {
    let world = World::with(Manners::default(), |settings| {
        settings.ops = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    world.logged_in().await;
    assert!(fetch(&world, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(fetch(&world, "/readyz").await.ends_with("ready\n"));
    let metrics = fetch(&world, "/metrics").await;
    for counted in [
        "connections_total{protocol=\"imap\",result=\"accepted\"} 1",
        "logins_total{protocol=\"imap\",result=\"accepted\"} 1",
        "login_seconds_count{protocol=\"imap\"} 1",
        "broker_calls_total{protocol=\"imap\",result=\"failed\"} 0",
        "broker_up{protocol=\"imap\"} 1",
        "relayed_bytes_total{protocol=\"imap\",direction=\"up\"} ",
        "sessions{protocol=\"imap\"} ",
    ] {
        assert!(
            metrics.contains(&format!("tokenbroker_adapter_{counted}")),
            "{counted}: {metrics}"
        );
    }
    eventually(|| !world.broker.memory().reports.is_empty()).await;
}

#[tokio::test]
async fn a_broker_that_goes_away_is_noticed_although_nobody_logs_in() {
    let world = World::with(Manners::default(), |settings| {
        settings.ops = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let becomes = async |state: &str| {
        let until = async { while !fetch(&world, "/readyz").await.ends_with(state) {} };
        tokio::time::timeout(PATIENCE, until).await.expect("it to be noticed in time");
    };
    becomes("ready\n").await;
    world.broker.memory().hangs = true;
    becomes("the broker is away\n").await;
    world.broker.memory().hangs = false;
    becomes("ready\n").await;
}

#[tokio::test]
async fn an_adapter_whose_broker_is_away_is_healthy_and_not_ready() {
    let away = nobody().await;
    let world = World::with(Manners::default(), |settings| {
        settings.broker = adapter_testkit::settings(away).broker;
        settings.ops = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    assert!(fetch(&world, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = fetch(&world, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("the broker is away\n"));
}
