//! The proof against servers that play a script: what they say, what they must hear.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::domain::provider::InitialResponse;
use crate::tasks::Tasks;

/// `user=ann@example.test`, token `tok`, XOAUTH2 and then OAUTHBEARER as the server hears them.
const XOAUTH2: &str = "dXNlcj1hbm5AZXhhbXBsZS50ZXN0AWF1dGg9QmVhcmVyIHRvawEB";
const CAPABILITIES: [Line; 3] = [
    Hear("c1 CAPABILITY"),
    Say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2"),
    Say("c1 OK done"),
];
const CHALLENGE: &str = "+ eyJzdGF0dXMiOiI0MDAifQ==";

#[derive(Clone, Copy)]
enum Line {
    Say(&'static str),
    /// Said without an ending, in one piece with the next.
    Mutter(&'static str),
    Hear(&'static str),
    HearStart(&'static str),
    Secure,
    Silence,
}
use Line::{Hear, HearStart, Mutter, Say, Secure, Silence};

/// A certificate authority, the server's side and the client's side of it.
struct Tls {
    acceptor: TlsAcceptor,
    client: Arc<ClientConfig>,
}

fn tls() -> Tls {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    Tls { acceptor: TlsAcceptor::from(Arc::new(server)), client: Arc::new(client) }
}

async fn play(stream: impl AsyncRead + AsyncWrite + Unpin, script: &[Line]) {
    let mut stream = BufReader::new(stream);
    for line in script {
        match line {
            Say(words) => stream.write_all(format!("{words}\r\n").as_bytes()).await.unwrap(),
            Mutter(words) => stream.write_all(words.as_bytes()).await.unwrap(),
            Hear(words) => assert_eq!(heard(&mut stream).await, *words),
            HearStart(words) => {
                let heard = heard(&mut stream).await;
                assert!(heard.starts_with(words), "{heard} does not start with {words}");
            }
            Silence => drop(stream.read_to_end(&mut Vec::new()).await),
            Secure => panic!("TLS is up, or not foreseen"),
        }
    }
}

async fn heard(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end_matches(['\r', '\n']).to_owned()
}

/// Plays `script` on a port of its own; [`Secure`] in it puts TLS around the connection.
async fn server(script: Vec<Line>, acceptor: TlsAcceptor) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let played = Tasks::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some(at) = script.iter().position(|line| matches!(line, Secure)) else {
            return play(stream, &script).await;
        };
        play(&mut stream, &script[..at]).await;
        if let Ok(stream) = acceptor.accept(stream).await {
            play(stream, &script[at + 1..]).await;
        }
    });
    (port, played)
}

/// What a login at `place` (such as `imap+plain`) proves while the server plays `script` to its end.
async fn proven(place: &str, script: &[Line], shape: impl FnOnce(&mut MailServer)) -> Proof {
    let long_enough = Duration::from_secs(20);
    proven_within(long_enough, place, script, shape).await
}

async fn proven_within(
    deadline: Duration,
    place: &str,
    script: &[Line],
    shape: impl FnOnce(&mut MailServer),
) -> Proof {
    let tls = tls();
    let (port, played) = server(script.to_vec(), tls.acceptor).await;
    let mut server = MailServer {
        host: MailHost::parse(&format!("{place}://localhost:{port}")).unwrap(),
        sasl: vec![SaslMechanism::OAuthBearer, SaslMechanism::XOauth2],
        initial_response: InitialResponse::Never,
        probe_after_login: false,
    };
    shape(&mut server);
    let proof = MailProof::new(tls.client, deadline);
    let proven = proof.log_in(&server, "ann@example.test", &Secret::from("tok")).await;
    played.await.unwrap();
    proven
}

async fn imap(answers: &[Line]) -> Proof {
    let script = [&[Say("* OK ready")][..], &CAPABILITIES, answers].concat();
    proven("imap+plain", &script, |_| ()).await
}

const TWO_STEPS: [Line; 3] = [Hear("a1 AUTHENTICATE XOAUTH2"), Say("+ "), Hear(XOAUTH2)];

async fn imap_answers(answers: &[Line]) -> Proof {
    imap(&[&TWO_STEPS, answers].concat()).await
}

#[tokio::test]
async fn imap_opens_in_two_steps_with_the_mechanism_that_is_offered() {
    let ends = [Say("* CAPABILITY IMAP4rev1"), Say("a1 OK in"), Hear("l1 LOGOUT")];
    assert_eq!(imap_answers(&ends).await, Proof::Opened);
}

#[tokio::test]
async fn imap_opens_in_one_step_where_server_and_settings_allow() {
    let command: &str = Box::leak(format!("a1 AUTHENTICATE XOAUTH2 {XOAUTH2}").into_boxed_str());
    let ends = [Hear(command), Say("a1 OK in"), Hear("l1 LOGOUT")];
    let script = [&[Say("* OK ready")][..], &CAPABILITIES, &ends].concat();
    let proof = proven("imap+plain", &script, |server| {
        server.initial_response = InitialResponse::IfAdvertised;
    })
    .await;
    assert_eq!(proof, Proof::Opened);
}

#[tokio::test]
async fn imap_answers_the_failure_challenge_before_it_believes_the_no() {
    let no = Say("a1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)");
    assert_eq!(imap_answers(&[Say(CHALLENGE), Hear(""), no]).await, Proof::Refused);
    assert_eq!(imap_answers(&[Say("a1 NO AUTHENTICATE failed.")]).await, Proof::Refused);

    let bearer = [
        Say("* OK ready"),
        Hear("c1 CAPABILITY"),
        Say("* CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER"),
        Say("c1 OK done"),
        Hear("a1 AUTHENTICATE OAUTHBEARER"),
        Say("+"),
        HearStart("bixhPWFubkBleGFtcGxlLnRlc3Qs"),
        Say("+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0="),
        Hear("AQ=="),
        Say("a1 NO no"),
    ];
    assert_eq!(proven("imap+plain", &bearer, |_| ()).await, Proof::Refused);
}

#[tokio::test]
async fn imap_takes_an_outage_for_an_outage() {
    for end in [
        "a1 NO [UNAVAILABLE] Temporary authentication failure",
        "a1 NO [ALERT] Too many simultaneous connections. (Failure)",
        "a1 BAD what",
        "* BYE too busy",
        "b7 OK somebody else's",
        "220 not IMAP",
    ] {
        assert_eq!(imap_answers(&[Say(end)]).await, Proof::Unreachable, "{end}");
    }
    assert_eq!(imap_answers(&[]).await, Proof::Unreachable, "hangs up");
    let twice = [Say(CHALLENGE), Hear(""), Say(CHALLENGE)];
    assert_eq!(imap_answers(&twice).await, Proof::Unreachable, "a second challenge");
    for greeting in ["* BYE no", "* PREAUTH you are somebody", "220 smtp", ""] {
        let proof = proven("imap+plain", &[Say(greeting)], |_| ()).await;
        assert_eq!(proof, Proof::Unreachable, "{greeting}");
    }
}

#[tokio::test]
async fn a_login_that_opens_nothing_is_found_out_by_asking_once_more() {
    let shallow = [
        Say("a1 OK AUTHENTICATE completed."),
        Hear("p1 NOOP"),
        Say("p1 BAD User is authenticated but not connected."),
    ];
    let script = [&[Say("* OK ready")][..], &CAPABILITIES, &TWO_STEPS, &shallow].concat();
    let probing = |server: &mut MailServer| server.probe_after_login = true;
    assert_eq!(proven("imap+plain", &script, probing).await, Proof::Refused);

    let without = [Say("a1 OK AUTHENTICATE completed."), Hear("l1 LOGOUT")];
    assert_eq!(imap_answers(&without).await, Proof::Opened, "the trap");
}

const HELLO: [Line; 2] = [Say("220-mail\r\n220 ready"), Hear("EHLO [127.0.0.1]")];
const OFFER: [Line; 2] = [Say("250-mail"), Say("250 AUTH LOGIN XOAUTH2")];
const AUTH: [Line; 3] = [Hear("AUTH XOAUTH2"), Say("334 "), Hear(XOAUTH2)];

async fn smtp_answers(answers: &[Line]) -> Proof {
    let script = [&HELLO[..], &OFFER, &AUTH, answers].concat();
    proven("smtp+plain", &script, |_| ()).await
}

#[tokio::test]
async fn smtp_opens_refuses_and_fails_by_its_codes() {
    assert_eq!(smtp_answers(&[Say("235 2.7.0 in"), Hear("QUIT")]).await, Proof::Opened);
    let no = Say("535-5.7.8 Username and Password not accepted\r\n535 5.7.8 really");
    assert_eq!(smtp_answers(&[no]).await, Proof::Refused);
    let challenged = [Say("334 eyJzdGF0dXMiOiI0MDAifQ=="), Hear(""), no];
    assert_eq!(smtp_answers(&challenged).await, Proof::Refused);
    for end in ["454 4.7.0 Temporary authentication failure", "421 busy", "503 what", "+ what"] {
        assert_eq!(smtp_answers(&[Say(end)]).await, Proof::Unreachable, "{end}");
    }
}

#[tokio::test]
async fn a_server_without_a_mechanism_for_tokens_proves_nothing() {
    let script = [&HELLO[..], &[Say("250 AUTH PLAIN LOGIN")], &[Silence]].concat();
    assert_eq!(proven("smtp+plain", &script, |_| ()).await, Proof::Unreachable);
}

#[tokio::test]
async fn tls_is_spoken_from_the_first_byte_or_after_starttls() {
    let ends = [Say("a1 OK in"), Hear("l1 LOGOUT")];
    let script = [&[Secure, Say("* OK ready")][..], &CAPABILITIES, &TWO_STEPS, &ends].concat();
    assert_eq!(proven("imap+tls", &script, |_| ()).await, Proof::Opened);

    let upgrade = [Say("* OK ready"), Hear("s1 STARTTLS"), Say("s1 OK go"), Secure];
    let script = [&upgrade[..], &CAPABILITIES, &TWO_STEPS, &ends].concat();
    assert_eq!(proven("imap+starttls", &script, |_| ()).await, Proof::Opened);

    let upgrade = [Say("250 STARTTLS"), Hear("STARTTLS"), Say("220 go"), Secure];
    let again = [Hear("EHLO [127.0.0.1]"), OFFER[0], OFFER[1]];
    let ends = [Say("235 in"), Hear("QUIT")];
    let script = [&HELLO[..], &upgrade, &again, &AUTH, &ends].concat();
    assert_eq!(proven("smtp+starttls", &script, |_| ()).await, Proof::Opened);
}

#[tokio::test]
async fn a_server_that_refuses_or_fakes_starttls_gets_no_token() {
    let refuses = [Say("* OK ready"), Hear("s1 STARTTLS"), Say("s1 BAD no"), Silence];
    assert_eq!(proven("imap+starttls", &refuses, |_| ()).await, Proof::Unreachable);
    let injects = [
        Say("* OK ready"),
        Hear("s1 STARTTLS"),
        Mutter("s1 OK go\r\n* CAPABILITY AUTH=XOAUTH2\r\n"),
    ];
    assert_eq!(proven("imap+starttls", &injects, |_| ()).await, Proof::Unreachable);
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_gets_no_token() {
    let script = [Secure, Silence];
    let elsewhere = |server: &mut MailServer| server.host.host = "127.0.0.1".to_owned();
    assert_eq!(proven("imap+tls", &script, elsewhere).await, Proof::Unreachable);
}

#[tokio::test]
async fn what_cannot_be_said_safely_is_not_said() {
    let server = MailServer {
        host: MailHost::parse("imap+plain://mail.example.test:143").unwrap(),
        sasl: vec![SaslMechanism::XOauth2],
        initial_response: InitialResponse::Never,
        probe_after_login: false,
    };
    let proof = MailProof::new(tls().client, Duration::from_secs(20));
    for (user, token) in [("ann\x01auth=Bearer x", "tok"), ("ann", "to\r\nk"), ("", "t"), ("a", "")]
    {
        assert_eq!(proof.log_in(&server, user, &token.into()).await, Proof::Refused);
    }
}

#[tokio::test]
async fn plain_text_is_for_this_machine_only() {
    let (port, played) = server(Vec::new(), tls().acceptor).await;
    let host = MailHost {
        protocol: MailProtocol::Imap,
        host: "127.0.0.1.".to_owned(),
        port,
        tls: TlsMode::PlainLoopback,
    };
    assert!(!host.is_loopback());
    let proof = MailProof::new(tls().client, Duration::from_secs(20));
    let refused = proof.dial(&host).await.err();
    assert!(refused.is_some());
    played.abort();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let soon = Duration::from_millis(50);
    for place in ["imap+plain", "imap+tls", "smtp+starttls"] {
        let proof = proven_within(soon, place, &[Silence], |_| ()).await;
        assert_eq!(proof, Proof::Unreachable, "{place}");
    }
}
