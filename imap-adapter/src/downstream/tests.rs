//! Conversations with a client, byte by byte.

use adapter_core::dialogue::{Farewell, Ready};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::inbox::MAX_TOTAL;

fn facts() -> ClientFacts {
    ClientFacts {
        server_name: "mail.example.com".to_owned(),
        encrypted: true,
        starttls: false,
        plain_allowed: false,
        extensions: vec![],
        attempts: 3,
    }
}

fn clear() -> ClientFacts {
    ClientFacts { encrypted: false, starttls: true, ..facts() }
}

fn opened(facts: ClientFacts) -> Downstream {
    let mut client = Downstream::new(facts);
    assert!(matches!(client.advance(ClientEvent::Opened), ClientStep::Listen { .. }));
    client
}

/// Feeds pieces until something else than `Listen` comes; all that was said, and the step without its `say`.
fn feed(client: &mut Downstream, pieces: &[&[u8]]) -> (String, Option<ClientStep>) {
    let mut said = Vec::new();
    for piece in pieces {
        let mut step = client.advance(ClientEvent::Bytes(piece));
        let (ClientStep::Listen { say }
        | ClientStep::StartTls { say }
        | ClientStep::Ask { say, .. }
        | ClientStep::Relay { say, .. }
        | ClientStep::Close { say }) = &mut step;
        said.append(say);
        if !matches!(step, ClientStep::Listen { .. }) {
            return (String::from_utf8(said).unwrap(), Some(step));
        }
    }
    (String::from_utf8(said).unwrap(), None)
}

fn said(facts: ClientFacts, bytes: &str) -> String {
    feed(&mut opened(facts), &[bytes.as_bytes()]).0
}

fn asked(name: &str, secret: &str) -> Option<ClientStep> {
    let login = Login { name: name.to_owned(), secret: Zeroizing::new(secret.to_owned()) };
    Some(ClientStep::Ask { say: vec![], login })
}

fn closed() -> Option<ClientStep> {
    Some(ClientStep::Close { say: vec![] })
}

fn denied(client: &mut Downstream) -> ClientStep {
    let text = String::new();
    client.advance(ClientEvent::Verdict(Verdict::Denied { blame: Blame::BadCredential, text }))
}

/// Every way a client can say the same login.
const LOGINS: [&str; 9] = [
    "a LOGIN ann@example.com tb_x\r\n",
    "a login \"ann@example.com\" \"tb_x\"\r\n",
    "a LOGIN {15}\r\nann@example.com {4}\r\ntb_x\r\n",
    "a LOGIN {15+}\r\nann@example.com {4+}\r\ntb_x\r\n",
    "a LOGIN {15+}\r\nann@example.com tb_x\r\n",
    "a LOGIN ann@example.com {4}\r\ntb_x\r\n",
    "a AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQB0Yl94\r\n",
    "a AUTHENTICATE PLAIN\r\nAGFubkBleGFtcGxlLmNvbQB0Yl94\r\n",
    "a authenticate plain\r\nYW5uQGV4YW1wbGUuY29tAGFubkBleGFtcGxlLmNvbQB0Yl94\r\n",
];

#[test]
fn the_greeting_carries_the_capabilities() {
    let mut client = Downstream::new(facts());
    let ClientStep::Listen { say } = client.advance(ClientEvent::Opened) else { panic!() };
    assert_eq!(
        String::from_utf8(say).unwrap(),
        "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN] mail.example.com ready\r\n"
    );
}

#[test]
fn every_way_of_saying_a_login_means_the_same_wherever_it_is_split() {
    for login in LOGINS {
        for split in 0..=login.len() {
            let (first, second) = login.as_bytes().split_at(split);
            let (_, step) = feed(&mut opened(facts()), &[first, second]);
            assert_eq!(step, asked("ann@example.com", "tb_x"), "{login:?} split at {split}");
        }
        let bytes: Vec<_> = login.as_bytes().chunks(1).collect();
        assert_eq!(feed(&mut opened(facts()), &bytes).1, asked("ann@example.com", "tb_x"));
    }
}

#[test]
fn a_waiting_literal_is_asked_for_and_an_unwaiting_one_is_not() {
    assert_eq!(said(facts(), "a LOGIN {3}\r\n"), "+ Send it\r\n");
    assert_eq!(said(facts(), "a LOGIN {3+}\r\n"), "");
    assert_eq!(said(facts(), "a AUTHENTICATE PLAIN\r\n"), "+ \r\n");
}

#[test]
fn what_is_pipelined_behind_a_login_goes_upstream() {
    for login in LOGINS {
        let bytes = format!("{login}b SELECT INBOX\r\nc FET");
        let mut client = opened(facts());
        assert!(matches!(feed(&mut client, &[bytes.as_bytes()]).1, Some(ClientStep::Ask { .. })));
        let step = client.advance(ClientEvent::Verdict(Verdict::Accepted(Ready::default())));
        let ClientStep::Relay { say, unread } = step else { panic!("{step:?}") };
        assert_eq!(say, b"a OK Logged in\r\n");
        assert_eq!(unread, b"b SELECT INBOX\r\nc FET");
    }
}

#[test]
fn what_is_pipelined_behind_a_refused_login_is_read_as_before_login() {
    let mut client = opened(facts());
    feed(&mut client, &[b"a LOGIN x y\r\nb NOOP\r\nc LOGIN x z\r\nd NO"]);
    let ClientStep::Ask { say, login } = denied(&mut client) else { panic!() };
    assert_eq!(
        String::from_utf8(say).unwrap(),
        "a NO [AUTHENTICATIONFAILED] Login name or password is wrong\r\nb OK Nothing done\r\n"
    );
    assert_eq!(login.secret.as_str(), "z");
}

#[test]
fn capabilities_after_login_follow_what_the_client_asked_before() {
    let accepted =
        || Verdict::Accepted(Ready { capabilities: "IMAP4rev1 IDLE".to_owned(), unread: vec![] });
    let answer = |before: &[u8]| {
        let mut client = opened(facts());
        feed(&mut client, &[before, b"a LOGIN x y\r\n"]);
        match client.advance(ClientEvent::Verdict(accepted())) {
            ClientStep::Relay { say, .. } => String::from_utf8(say).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer(b""), "a OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n");
    assert_eq!(answer(b"x CAPABILITY\r\n"), "* CAPABILITY IMAP4rev1 IDLE\r\na OK Logged in\r\n");
}

#[test]
fn small_commands_are_answered_here() {
    assert_eq!(said(facts(), "a NOOP\r\n"), "a OK Nothing done\r\n");
    assert!(said(facts(), "a ID (\"name\" \"x\")\r\n").contains("\r\na OK "));
    assert!(said(facts(), "a LOGOUT\r\n").starts_with("* BYE "));
    assert!(said(facts(), "a SELECT INBOX\r\n").starts_with("a BAD "));
    assert!(said(facts(), "a AUTHENTICATE PLAIN\r\n*\r\n").ends_with("a BAD Cancelled\r\n"));
    assert!(said(facts(), "a AUTHENTICATE XOAUTH2 abc\r\n").starts_with("a NO "));
    assert!(said(facts(), "a AUTHENTICATE PLAIN =\r\n").starts_with("a BAD "));
}

#[test]
fn without_tls_no_password_is_taken_and_none_is_asked_for() {
    for login in LOGINS {
        let bytes = login.as_bytes();
        let (said, step) = feed(&mut opened(clear()), &[bytes]);
        assert!(!matches!(step, Some(ClientStep::Ask { .. })), "{login:?}");
        assert!(said.contains("a NO [PRIVACYREQUIRED] "), "{login:?} {said:?}");
        assert!(!said.contains("+ "), "{login:?}");
    }
    let local = ClientFacts { plain_allowed: true, ..clear() };
    assert_eq!(
        feed(&mut opened(local), &[LOGINS[0].as_bytes()]).1,
        asked("ann@example.com", "tb_x")
    );
}

#[test]
fn after_starttls_everything_said_in_clear_is_forgotten() {
    let mut client = opened(clear());
    feed(&mut client, &[b"a CAPABILITY\r\n"]);
    let (said, step) = feed(&mut client, &[b"b STARTTLS\r\n"]);
    assert_eq!(
        (said.as_str(), step),
        ("b OK Begin TLS\r\n", Some(ClientStep::StartTls { say: vec![] }))
    );
    assert_eq!(client.advance(ClientEvent::Secured), ClientStep::Listen { say: vec![] });
    feed(&mut client, &[b"c LOGIN x y\r\n"]);
    let ready = Ready { capabilities: "IDLE".to_owned(), unread: vec![] };
    let ClientStep::Relay { say, .. } =
        client.advance(ClientEvent::Verdict(Verdict::Accepted(ready)))
    else {
        panic!()
    };
    assert_eq!(say, b"c OK [CAPABILITY IDLE] Logged in\r\n");
}

const INJECTION: &[u8] = b"a STARTTLS\r\nb NOOP\r\n";

#[test]
fn bytes_behind_starttls_close_the_connection() {
    let after = b"a STARTTLS\r\n".len();
    for split in 0..=INJECTION.len() {
        let (first, second) = INJECTION.split_at(split);
        let mut client = opened(clear());
        let (said, step) = feed(&mut client, &[first, second]);
        if split == after {
            // Nothing was behind it yet: the driver shakes hands, and what comes now is no TLS.
            assert_eq!(step, Some(ClientStep::StartTls { say: vec![] }));
            continue;
        }
        assert_eq!(step, closed(), "split at {split}");
        assert!(!said.contains("b OK"), "split at {split}");
    }
}

/// A dialogue as it was written before 2011: what came along with STARTTLS is still there when TLS stands.
struct Unguarded {
    inner: Downstream,
    kept: Vec<u8>,
}

impl ClientDialogue for Unguarded {
    fn advance(&mut self, event: ClientEvent<'_>) -> ClientStep {
        match event {
            ClientEvent::Bytes(bytes) => {
                let end = bytes
                    .windows(2)
                    .position(|pair| pair == b"\r\n")
                    .map_or(bytes.len(), |at| at + 2);
                self.kept = bytes[end..].to_vec();
                self.inner.advance(ClientEvent::Bytes(&bytes[..end]))
            }
            ClientEvent::Secured => {
                self.inner.advance(ClientEvent::Secured);
                self.inner.advance(ClientEvent::Bytes(&std::mem::take(&mut self.kept)))
            }
            other => self.inner.advance(other),
        }
    }
}

#[test]
fn without_the_guard_a_command_sent_in_clear_is_answered_inside_tls() {
    let mut client = Unguarded { inner: opened(clear()), kept: vec![] };
    let step = client.advance(ClientEvent::Bytes(INJECTION));
    assert!(matches!(step, ClientStep::StartTls { .. }));
    let ClientStep::Listen { say } = client.advance(ClientEvent::Secured) else { panic!() };
    assert_eq!(say, b"b OK Nothing done\r\n");
}

#[test]
fn impossible_logins_are_refused_without_asking_the_broker() {
    let long = format!("a LOGIN {} y\r\n", "x".repeat(321));
    for login in [long.as_str(), "a LOGIN \"a\x01b\" y\r\n", "a LOGIN \"\" y\r\n"] {
        assert!(said(facts(), login).starts_with("a NO [AUTHENTICATIONFAILED] "), "{login:?}");
    }
}

#[test]
fn the_third_refused_login_is_the_last() {
    let mut client = opened(facts());
    for _ in 0..2 {
        feed(&mut client, &[b"a LOGIN x y\r\n"]);
        assert!(matches!(denied(&mut client), ClientStep::Listen { .. }));
    }
    feed(&mut client, &[b"a LOGIN x y\r\n"]);
    let ClientStep::Close { say } = denied(&mut client) else { panic!() };
    assert!(String::from_utf8(say).unwrap().contains("\r\n* BYE "));
}

#[test]
fn twenty_commands_are_enough() {
    let noops = "a NOOP\r\n".repeat(20);
    let mut client = opened(facts());
    assert_eq!(feed(&mut client, &[noops.as_bytes()]).1, None);
    assert_eq!(feed(&mut client, &[b"a NOOP\r\n"]).1, closed());
}

#[test]
fn a_line_without_an_end_and_literal_bombs_are_refused() {
    let cases = [
        "a".repeat(9 * 1024),
        "a".repeat(1 << 20),
        "a LOGIN {1025+}\r\n".to_owned(),
        "a LOGIN {99999999999999999999+}\r\n".to_owned(),
        "a APPEND INBOX {5+}\r\n".to_owned(),
        format!("a AUTHENTICATE PLAIN\r\n{}", "A".repeat(13 * 1024)),
    ];
    for bytes in cases {
        let mut client = opened(facts());
        let (said, step) = feed(&mut client, &[bytes.as_bytes()]);
        assert_eq!(step, closed(), "{bytes:.40}");
        assert!(said.contains("* BYE "));
        assert!(client.held() < 80 * 1024);
    }
    assert!(said(facts(), "a LOGIN {1025}\r\n").starts_with("a BAD [TOOBIG] "));
}

#[test]
fn nul_and_lone_line_ends_are_refused() {
    for line in ["a NOOP\n", "a NO\0OP\r\n", "a NO\rOP\r\n", "a LOGIN x y\n"] {
        let (said, step) = feed(&mut opened(facts()), &[line.as_bytes()]);
        assert_eq!(step, None);
        assert!(said.starts_with("* BAD "), "{line:?} {said:?}");
    }
}

#[test]
fn a_client_that_is_too_slow_is_told_so() {
    let step = opened(facts()).advance(ClientEvent::TimeUp(Farewell::TooSlow));
    assert_eq!(step, ClientStep::Close { say: b"* BYE Too slow to log in\r\n".to_vec() });
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = proptest::sample::select(vec![
        "a LOGIN x y\r\n",
        "a LOGIN {3}\r\n",
        "b {4+}\r\n",
        "a STARTTLS\r\n",
        "a AUTHENTICATE PLAIN\r\n",
        "\r\n",
        "\n",
        "\0",
        "\"",
        "a CAPABILITY\r\n",
        "*\r\n",
        "AGEAYg==\r\n",
        "a ID (",
    ]);
    prop_oneof![
        words.prop_map(|word| word.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..200),
        (any::<u8>(), 0..70_000usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_80_kib(
        pieces in proptest::collection::vec(piece(), 0..40),
        encrypted in any::<bool>(),
    ) {
        let mut client = opened(if encrypted { facts() } else { clear() });
        let mut total = 0;
        for piece in pieces {
            total += piece.len();
            let step = client.advance(ClientEvent::Bytes(&piece));
            prop_assert!(client.held() <= 80 * 1024);
            match step {
                ClientStep::Ask { .. } => { denied(&mut client); }
                ClientStep::StartTls { .. } => { client.advance(ClientEvent::Secured); }
                ClientStep::Close { .. } => return Ok(()),
                _ => {}
            }
            prop_assert!(total <= MAX_TOTAL);
        }
    }
}
