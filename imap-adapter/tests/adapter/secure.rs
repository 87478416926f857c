//! TLS on both sides, and the attacks on it.

use adapter_core::settings::ListenerTls;
use adapter_testkit::v1::TlsMode;
use adapter_testkit::{Identity, KEY, listener};
use token_broker_client::Options;
use tokio::net::TcpListener;

use crate::server::{Begin, Manners};
use crate::world::{World, login};

async fn tls_world(identity: &Identity, tls: ListenerTls) -> World {
    World::with(Manners::default(), |settings| {
        settings.listeners = vec![listener(tls)];
        settings.certificate = Some(identity.files());
    })
    .await
}

#[tokio::test]
async fn a_login_over_implicit_tls() {
    let identity = Identity::new();
    let world = tls_world(&identity, ListenerTls::Implicit).await;
    let mut client = world.client().await.secure(&identity).await.unwrap();
    client.line().await;
    client.say(&login()).await;
    assert!(client.line().await.starts_with("a OK "));
    client.say("b NOOP\r\n").await;
    assert_eq!(client.line().await, "b OK done");
    let asked = world.broker.memory().opened[0].client_tls.clone().unwrap();
    assert!(asked.encrypted && asked.version.starts_with("TLSv1"), "{asked:?}");
}

#[tokio::test]
async fn a_login_over_starttls() {
    let identity = Identity::new();
    let world = tls_world(&identity, ListenerTls::StartTls).await;
    let mut client = world.client().await;
    assert!(client.line().await.contains(" STARTTLS "));
    client.say("a STARTTLS\r\n").await;
    assert_eq!(client.line().await, "a OK Begin TLS");
    let mut client = client.secure(&identity).await.unwrap();
    client.say(&login()).await;
    assert!(client.line().await.starts_with("a OK "));
    assert!(world.broker.memory().opened[0].client_tls.as_ref().unwrap().encrypted);
}

#[tokio::test]
async fn a_command_sent_along_with_starttls_is_never_answered() {
    let identity = Identity::new();
    let world = tls_world(&identity, ListenerTls::StartTls).await;
    let attack = "a STARTTLS\r\nb NOOP\r\n";
    for split in [0, 5, 11, 12, 13, attack.len() - 1] {
        let mut client = world.client().await;
        client.line().await;
        client.say(&attack[..split]).await;
        tokio::task::yield_now().await;
        // The adapter may have hung up already.
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut client.0, &attack.as_bytes()[split..]).await;
        let heard = client.rest().await;
        let heard = String::from_utf8_lossy(&heard);
        assert!(!heard.contains("b OK"), "split at {split}: {heard}");
    }
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_shown_out_and_holds_nobody_up() {
    let identity = Identity::new();
    let world = World::with(Manners::default(), |settings| {
        settings.listeners = vec![listener(ListenerTls::Implicit)];
        settings.certificate = Some(identity.files());
        settings.limits.tls = std::time::Duration::from_secs(5);
    })
    .await;
    let mut silent = world.client().await;
    let mut client = world.client().await.secure(&identity).await.unwrap();
    assert!(client.line().await.starts_with("* OK "), "served while the other one is silent");
    assert!(silent.rest().await.is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let mut identity = Identity::new();
    let world = tls_world(&identity, ListenerTls::Implicit).await;
    world.client().await.secure(&identity).await.unwrap();
    identity.renew();
    assert!(world.client().await.secure(&identity).await.is_err(), "the old one is still shown");
    world.adapter.reload();
    world.client().await.secure(&identity).await.unwrap();
}

async fn upstream_world(begin: Begin, trusted: bool) -> World {
    let (identity, other) = (Identity::new(), Identity::new());
    let manners = Manners { tls: Some((identity.acceptor(), begin)), ..Manners::default() };
    let world = World::with(manners, |settings| {
        let whose = if trusted { &identity } else { &other };
        settings.upstream.ca_file = Some(whose.file("cert.pem"));
    })
    .await;
    let mode = if begin == Begin::InTls { TlsMode::Implicit } else { TlsMode::Starttls };
    world.broker.memory().upstream.tls = mode.into();
    world
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_gets_the_token() {
    for begin in [Begin::InTls, Begin::StartTls] {
        let world = upstream_world(begin, true).await;
        let mut client = world.logged_in().await;
        client.say("b NOOP\r\n").await;
        assert_eq!(client.line().await, "b OK done");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_gets_nothing() {
    for (begin, trusted) in
        [(Begin::InTls, false), (Begin::StartTls, false), (Begin::Injecting, true)]
    {
        let world = upstream_world(begin, trusted).await;
        let mut client = world.client().await;
        client.line().await;
        client.say(&login()).await;
        let answer = client.line().await;
        assert!(answer.starts_with("a NO [UNAVAILABLE] "), "{answer}");
        let heard = world.server.heard.lock().unwrap().before_login.clone();
        assert!(!heard.contains("AUTHENTICATE"), "{heard}");
    }
}

#[tokio::test]
async fn the_broker_is_asked_over_tls_and_only_if_its_certificate_is_trusted() {
    let identity = Identity::new();
    let (certificate, key) = (identity.pair.cert.pem(), identity.pair.signing_key.serialize_pem());
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", place.local_addr().unwrap().port());
    let mut place = Some(place);
    for (trusted, answer) in [(true, "a OK "), (false, "a NO [UNAVAILABLE] ")] {
        let world = World::with(Manners::default(), |settings| {
            let options = Options::new(&endpoint).api_key(KEY);
            let authority = identity.file("cert.pem");
            settings.broker = if trusted { options.ca_file(authority) } else { options };
        })
        .await;
        if let Some(place) = place.take() {
            world.broker.serve_tls(place, &certificate, &key);
        }
        let mut client = world.client().await;
        client.line().await;
        client.say(&login()).await;
        let said = client.line().await;
        assert!(said.starts_with(answer), "{said}");
    }
}
