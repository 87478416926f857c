//! Clients that log in, err, attack or flood, and what the client's dialogue says to them.

use adapter_core::dialogue::Farewell;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::cast::facts;

const PLAIN: &str = "AGFsaWNlQGV4YW1wbGUuY29tAHB3LTE=";
const EHLO: &str = "EHLO client.example\r\n";

/// A client and what it lived through.
struct Client {
    dialogue: Downstream,
    heard: String,
    logins: Vec<String>,
    upstream: Option<Vec<u8>>,
    closed: bool,
    verdict: Verdict,
}

impl Client {
    fn connect(facts: ClientFacts) -> Self {
        let mut client = Self {
            dialogue: Downstream::new(facts),
            heard: String::new(),
            logins: Vec::new(),
            upstream: None,
            closed: false,
            verdict: Verdict::Accepted(Ready::default()),
        };
        client.happens(ClientEvent::Opened);
        client.heard.clear();
        client
    }

    fn denied(mut self, blame: Blame, text: &str) -> Self {
        self.verdict = Verdict::Denied { blame, text: text.to_owned() };
        self
    }

    fn sends(mut self, text: &str) -> Self {
        self.sends_bytes(text.as_bytes());
        self
    }

    /// Sends as a driver would: what comes after the relay began is not the dialogue's.
    fn sends_bytes(&mut self, bytes: &[u8]) {
        match &mut self.upstream {
            Some(relayed) => relayed.extend_from_slice(bytes),
            None => self.happens(ClientEvent::Bytes(bytes)),
        }
    }

    fn happens(&mut self, event: ClientEvent<'_>) {
        match self.dialogue.advance(event) {
            ClientStep::Listen { say } => self.hears(&say),
            ClientStep::StartTls { say } => {
                self.hears(&say);
                self.happens(ClientEvent::Secured);
            }
            ClientStep::Ask { say, login } => {
                self.hears(&say);
                self.logins.push(format!("{}/{}", login.name, login.secret.as_str()));
                self.happens(ClientEvent::Verdict(self.verdict.clone()));
            }
            ClientStep::Relay { say, unread } => {
                self.hears(&say);
                self.upstream = Some(unread);
            }
            ClientStep::Close { say } => {
                self.hears(&say);
                self.closed = true;
            }
        }
    }

    fn hears(&mut self, say: &[u8]) {
        self.heard.push_str(std::str::from_utf8(say).unwrap());
    }

    /// The codes of all replies, enhanced ones too, one per reply.
    fn codes(&self) -> Vec<String> {
        let last = |line: &&str| line.as_bytes().get(3) != Some(&b'-');
        let code = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let enhanced = words.get(1).filter(|w| w.split('.').count() == 3 && w.len() < 8);
            enhanced.map_or(words[0].to_owned(), |e| format!("{} {e}", words[0]))
        };
        self.heard.split_terminator("\r\n").filter(last).map(code).collect()
    }
}

fn clear() -> ClientFacts {
    ClientFacts { encrypted: false, starttls: true, ..facts() }
}

fn auth_plain() -> String {
    format!("AUTH PLAIN {PLAIN}\r\n")
}

#[test]
fn the_greeting_names_the_server() {
    let ClientStep::Listen { say } = Downstream::new(facts()).advance(ClientEvent::Opened) else {
        panic!()
    };
    assert_eq!(say, b"220 mail.example ESMTP ready\r\n");
}

#[test]
fn ehlo_lists_extensions_and_helo_none() {
    let client = Client::connect(facts()).sends(EHLO).sends("HELO client.example\r\n");
    assert_eq!(
        client.heard,
        "250-mail.example\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN\r\n\
         250 mail.example\r\n"
    );
}

#[test]
fn a_login_opens_the_relay() {
    let client = Client::connect(facts()).sends(EHLO).sends(&auth_plain());
    assert_eq!(client.logins, ["alice@example.com/pw-1"]);
    assert_eq!(client.codes(), ["250", "235 2.7.0"]);
    assert_eq!(client.upstream.as_deref(), Some(&b""[..]));
}

#[test]
fn auth_login_in_two_answers_opens_the_relay() {
    let client = Client::connect(facts())
        .sends(EHLO)
        .sends("AUTH LOGIN\r\n")
        .sends("YWxpY2VAZXhhbXBsZS5jb20=\r\n")
        .sends("cHctMQ==\r\n");
    assert_eq!(client.codes(), ["250", "334", "334", "235 2.7.0"]);
    assert_eq!(client.logins, ["alice@example.com/pw-1"]);
}

#[test]
fn what_needs_a_login_is_refused_before_it() {
    let client = Client::connect(facts())
        .sends(EHLO)
        .sends("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nEXPN list\r\n");
    assert_eq!(client.codes()[1..], ["530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0"]);
    assert!(!client.closed);
}

#[test]
fn harmless_commands_are_answered_before_login() {
    let client =
        Client::connect(facts()).sends("NOOP\r\nRSET\r\nVRFY alice\r\nHELP\r\nWHAT\r\nQUIT\r\n");
    assert_eq!(
        client.codes(),
        ["250 2.0.0", "250 2.0.0", "252 2.1.5", "214 2.0.0", "500 5.5.1", "221 2.0.0"]
    );
    assert!(client.closed);
}

#[test]
fn auth_has_to_be_greeted_and_well_formed() {
    let client = Client::connect(facts())
        .sends(&auth_plain())
        .sends(EHLO)
        .sends("AUTH\r\nAUTH CRAM-MD5\r\nAUTH PLAIN =\r\nAUTH PLAIN !\r\nAUTH PLAIN\r\n*\r\n");
    assert_eq!(
        client.codes(),
        [
            "503 5.5.1",
            "250",
            "501 5.5.4",
            "504 5.5.4",
            "501 5.5.2",
            "501 5.5.2",
            "334",
            "501 5.7.0"
        ]
    );
    assert!(client.logins.is_empty());
}

#[test]
fn a_password_off_loopback_has_to_wait_for_tls() {
    let client =
        Client::connect(clear()).sends(EHLO).sends(&auth_plain()).sends("MAIL FROM:<a@b>\r\n");
    assert!(!client.heard.contains("AUTH PLAIN"));
    assert!(client.heard.contains("250 STARTTLS\r\n"));
    assert!(client.heard.contains("530 5.7.0 Must issue a STARTTLS command first\r\n"));
    assert_eq!(client.codes()[1..], ["530 5.7.0", "530 5.7.0"]);
    assert!(client.logins.is_empty());
}

#[test]
fn without_a_certificate_the_client_is_not_sent_to_starttls() {
    let facts = ClientFacts { starttls: false, ..clear() };
    let client = Client::connect(facts).sends(EHLO).sends(&auth_plain()).sends("STARTTLS\r\n");
    assert_eq!(client.codes()[1..], ["530 5.7.0", "454 4.7.0"]);
    assert!(!client.heard.contains("STARTTLS"));
}

#[test]
fn on_loopback_a_password_may_come_in_clear() {
    let client = Client::connect(ClientFacts { plain_allowed: true, ..clear() });
    assert_eq!(client.sends(EHLO).sends(&auth_plain()).logins.len(), 1);
}

#[test]
fn starttls_forgets_what_came_before_it() {
    let client = Client::connect(clear())
        .sends(EHLO)
        .sends("STARTTLS\r\n")
        .sends(&auth_plain())
        .sends(EHLO)
        .sends("STARTTLS\r\n")
        .sends(&auth_plain());
    assert_eq!(client.codes(), ["250", "220 2.0.0", "503 5.5.1", "250", "503 5.5.1", "235 2.7.0"]);
}

/// What an attacker between client and adapter makes of the client's STARTTLS: the NOOP is his.
const INJECTED: &[u8] = b"EHLO a\r\nSTARTTLS\r\nNOOP\r\n";
const BEFORE_INJECTED: usize = INJECTED.len() - b"NOOP\r\n".len();

#[test]
fn a_command_behind_starttls_closes_the_connection_however_it_is_split() {
    for at in 0..INJECTED.len() {
        let mut dialogue = Downstream::new(clear());
        dialogue.advance(ClientEvent::Opened);
        let first = dialogue.advance(ClientEvent::Bytes(&INJECTED[..at]));
        let second = dialogue.advance(ClientEvent::Bytes(&INJECTED[at..]));
        assert!(matches!(second, ClientStep::Close { .. }), "split at {at}");
        let secured = matches!(first, ClientStep::StartTls { .. });
        assert_eq!(secured, at == BEFORE_INJECTED, "split at {at}");
        let ClientStep::Close { say } = dialogue.advance(ClientEvent::Secured) else { panic!() };
        assert!(say.is_empty(), "an answer inside TLS, split at {at}");
    }
}

/// The mistake of CVE-2011-0411: what was read ahead of the handshake is kept and goes on being read after it.
fn reads_ahead(dialogue: &mut Downstream, bytes: &[u8], before: usize) -> ClientStep {
    dialogue.advance(ClientEvent::Bytes(&bytes[..before]));
    dialogue.advance(ClientEvent::Secured);
    dialogue.advance(ClientEvent::Bytes(&bytes[before..]))
}

#[test]
fn without_the_guard_a_command_sent_in_clear_is_answered_inside_tls() {
    let mut dialogue = Downstream::new(clear());
    dialogue.advance(ClientEvent::Opened);
    let step = reads_ahead(&mut dialogue, INJECTED, BEFORE_INJECTED);
    assert_eq!(step, ClientStep::Listen { say: reply::OK.to_vec() });
}

#[test]
fn bytes_pipelined_behind_the_login_survive_it() {
    let rest = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@exam";
    let client = Client::connect(facts()).sends(&format!("{EHLO}{}{rest}", auth_plain()));
    assert_eq!(client.upstream.as_deref(), Some(rest.as_bytes()));
    assert_eq!(client.codes(), ["250", "235 2.7.0"]);
}

#[test]
fn bytes_pipelined_behind_a_refused_login_are_those_of_a_stranger() {
    let client = Client::connect(facts())
        .denied(Blame::BadCredential, "")
        .sends(&format!("{EHLO}{}MAIL FROM:<a@example.com>\r\nNOOP\r\n", auth_plain()));
    assert_eq!(client.codes(), ["250", "535 5.7.8", "530 5.7.0", "250 2.0.0"]);
}

#[test]
fn pipelined_logins_are_asked_one_after_the_other() {
    let client = Client::connect(facts()).denied(Blame::Unavailable, "").sends(&format!(
        "{EHLO}{}{}{}",
        auth_plain(),
        auth_plain(),
        auth_plain()
    ));
    assert_eq!(client.logins.len(), 3);
    assert!(client.closed);
}

#[test]
fn more_than_8_kib_behind_the_login_closes_the_connection() {
    let fits = format!("{EHLO}{}{}", auth_plain(), "x".repeat(AHEAD));
    assert_eq!(Client::connect(facts()).sends(&fits).upstream.map(|u| u.len()), Some(AHEAD));
    let client = Client::connect(facts()).sends(&(fits + "x"));
    assert!(client.closed && client.logins.is_empty());
    assert!(client.heard.contains("503 5.5.0"));
}

#[test]
fn what_the_server_said_already_follows_the_answer_to_the_login() {
    let mut client = Client::connect(facts()).sends(EHLO);
    let unread = b"421 4.3.2 going down\r\n".to_vec();
    client.verdict = Verdict::Accepted(Ready { unread, ..Ready::default() });
    let client = client.sends(&auth_plain());
    assert!(
        client.heard.ends_with("235 2.7.0 Authentication successful\r\n421 4.3.2 going down\r\n")
    );
}

#[test]
fn each_blame_has_its_answer_and_only_a_limit_closes_at_once() {
    for (blame, code, closes) in [
        (Blame::BadCredential, "535 5.7.8", false),
        (Blame::NeedsConsent, "535 5.7.8", false),
        (Blame::ContactAdmin, "454 4.7.0", false),
        (Blame::Unavailable, "454 4.7.0", false),
        (Blame::Limit, "421 4.7.0", true),
    ] {
        let client = Client::connect(facts()).denied(blame, "see https://b.example/c/1");
        let client = client.sends(EHLO).sends(&auth_plain());
        assert_eq!(client.codes()[1..], [code], "{blame:?}");
        assert_eq!(client.closed, closes, "{blame:?}");
        assert!(client.heard.ends_with("see https://b.example/c/1\r\n"));
    }
}

#[test]
fn the_third_refusal_keeps_its_words_and_closes() {
    let mut client = Client::connect(facts()).denied(Blame::BadCredential, "").sends(EHLO);
    for _ in 0..3 {
        assert!(!client.closed);
        client = client.sends(&auth_plain());
    }
    assert_eq!(client.codes()[1..], ["535 5.7.8", "535 5.7.8", "535 5.7.8", "421 4.7.0"]);
    assert!(client.closed);
}

#[test]
fn what_can_be_no_login_counts_as_a_refusal_without_asking() {
    let foreign = STANDARD.encode("root\0alice\0pw");
    let mut client = Client::connect(facts()).sends(EHLO);
    for _ in 0..3 {
        client = client.sends(&format!("AUTH PLAIN {foreign}\r\n"));
    }
    assert_eq!(client.codes()[1..], ["535 5.7.8", "535 5.7.8", "535 5.7.8", "421 4.7.0"]);
    assert!(client.closed && client.logins.is_empty());
}

#[test]
fn the_twenty_first_command_closes_the_connection() {
    let mut client = Client::connect(facts()).sends(&"NOOP\r\n".repeat(20));
    assert!(!client.closed);
    client = client.sends("NOOP\r\n");
    assert!(client.closed);
    assert_eq!(client.codes().last().unwrap(), "421 4.7.0");
}

#[test]
fn a_stranger_who_only_talks_is_cut_off_at_64_kib() {
    let mut client = Client::connect(facts());
    for _ in 0..BYTES / 1024 {
        client.sends_bytes(&[b'x'; 1024]);
        assert!(!client.closed);
        assert!(client.dialogue.held() <= LONGEST + 2);
    }
    client.sends_bytes(b"x");
    assert!(client.closed);
}

#[test]
fn lines_are_refused_when_dirty_or_too_long() {
    let long = "x".repeat(5000);
    let auth = format!("AUTH PLAIN {}", "A".repeat(13_000));
    let client = Client::connect(facts())
        .sends(EHLO)
        .sends(&format!("{long}\r\n{auth}\r\nNOOP\nNO\0OP\r\nNO\rOP\r\nNOOP\r\n"));
    assert_eq!(
        client.codes()[1..],
        ["500 5.5.2", "500 5.5.6", "500 5.5.2", "500 5.5.2", "500 5.5.2", "250 2.0.0"]
    );
}

#[test]
fn a_sasl_line_of_12288_bytes_is_read() {
    let response = STANDARD.encode("x".repeat(9216));
    assert_eq!(response.len(), 12_288);
    let client =
        Client::connect(facts()).sends(EHLO).sends("AUTH PLAIN\r\n").sends(&response).sends("\r\n");
    assert_eq!(client.codes()[1..], ["334", "501 5.5.2"]);
    let client = client.sends(&format!("AUTH PLAIN {response}\r\n"));
    assert_eq!(client.codes()[3..], ["501 5.5.2"]);
}

#[test]
fn the_payload_of_a_refused_bdat_is_not_read_as_commands() {
    let client = Client::connect(facts()).denied(Blame::BadCredential, "").sends(&format!(
        "{EHLO}{}BDAT 60\r\n{}",
        auth_plain(),
        auth_plain()
    ));
    assert!(client.closed);
    assert_eq!(client.logins.len(), 1);
}

#[test]
fn a_browser_is_sent_away() {
    let client =
        Client::connect(facts()).sends(&format!("POST / HTTP/1.1\r\nHost: x\r\n\r\n{EHLO}"));
    assert!(client.closed);
    assert_eq!(client.codes(), ["421 4.7.0"]);
}

#[test]
fn the_client_is_told_why_the_adapter_ends_the_conversation() {
    for (why, code) in [(Farewell::TooSlow, "421 4.4.2"), (Farewell::Stopping, "421 4.3.2")] {
        let mut client = Client::connect(facts()).sends("AUTH PLAIN\r\n");
        client.heard.clear();
        client.happens(ClientEvent::TimeUp(why));
        assert!(client.closed);
        assert_eq!(client.codes(), [code]);
    }
}

#[test]
fn a_closed_dialogue_says_nothing_more() {
    let mut client = Client::connect(facts()).sends("QUIT\r\n");
    client.heard.clear();
    client = client.sends("NOOP\r\n");
    client.happens(ClientEvent::Secured);
    assert!(client.heard.is_empty());
}

#[test]
fn it_does_not_matter_how_the_bytes_are_split() {
    let text = format!(
        "EHLO a\r\nNOOP\nAUTH LOGIN\r\n*\r\n{}\r\nAUTH LOGIN\r\nYWxpY2U=\r\ncHctMQ==\r\nMAIL FROM:<a@b>\r\nQU",
        "x".repeat(30)
    );
    let at_once = Client::connect(facts()).sends(&text);
    for at in 0..=text.len() {
        let split = Client::connect(facts()).sends(&text[..at]).sends(&text[at..]);
        assert_eq!(split.heard, at_once.heard, "split at {at}");
        assert_eq!(split.upstream, at_once.upstream, "split at {at}");
        assert_eq!(split.logins, at_once.logins, "split at {at}");
    }
    let mut single = Client::connect(facts());
    text.bytes().for_each(|byte| single.sends_bytes(&[byte]));
    assert_eq!((single.heard, single.upstream), (at_once.heard, at_once.upstream));
}

/// Bytes as an attacker would choose them: pieces of the protocol, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"EHLO a\r\n",
        b"AUTH PLAIN ",
        b"AUTH LOGIN\r\n",
        b"AUTH PLAIN\r\n",
        b"STARTTLS\r\n",
        b"*\r\n",
        b"AGFsaWNlAHB3\r\n",
        b"YWxpY2U=\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"NOOP\r\n",
        b"BDAT 9\r\n",
    ];
    prop_oneof![
        proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..64),
        (any::<u8>(), 0..40_000usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
}

proptest! {
    #[test]
    fn no_input_panics_or_makes_the_dialogue_hold_more_than_80_kib(
        pieces in proptest::collection::vec(piece(), 0..40),
        encrypted in any::<bool>(),
        deny in any::<bool>(),
    ) {
        let mut client = Client::connect(ClientFacts { encrypted, plain_allowed: true, ..clear() });
        if deny {
            client = client.denied(Blame::BadCredential, "no");
        }
        for piece in pieces {
            client.sends_bytes(&piece);
            prop_assert!(client.dialogue.held() <= 80 * 1024);
            if client.upstream.is_some() {
                break;
            }
        }
        prop_assert!(client.heard.len() < 64 * 1024);
    }
}
