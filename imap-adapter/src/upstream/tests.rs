//! Conversations with a provider's server, line by line and split anywhere.

use proptest::prelude::*;

use super::*;

fn upstream() -> Upstream {
    Upstream {
        host: "imap.example.com".to_owned(),
        port: 993,
        starttls: false,
        helo_name: "[127.0.0.1]".to_owned(),
        user: "alice@example.com".to_owned(),
        secret: Zeroizing::new("tok-123".to_owned()),
        mechanisms: vec![Mechanism::OAuthBearer, Mechanism::XOauth2],
        initial_response: true,
        probe_after_login: false,
    }
}

const XOAUTH2: &str = "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB0b2stMTIzAQE=";

/// Plays `server`'s lines one after the other; what was sent after each, and the outcome.
fn play(upstream: Upstream, server: &[&str]) -> (Vec<String>, Option<Outcome>) {
    let mut login = UpstreamLogin::new(upstream);
    login.advance(ProviderEvent::Opened);
    let mut sent = vec![];
    for line in server {
        match login.advance(ProviderEvent::Bytes(format!("{line}\r\n").as_bytes())) {
            ProviderStep::Listen { say } => sent.push(String::from_utf8(say.to_vec()).unwrap()),
            ProviderStep::StartTls { .. } => match login.advance(ProviderEvent::Secured) {
                ProviderStep::Listen { say } => {
                    sent.push(format!("TLS {}", String::from_utf8_lossy(&say)));
                }
                step => panic!("{step:?}"),
            },
            ProviderStep::Done(outcome) => return (sent, Some(outcome)),
        }
    }
    (sent, None)
}

fn outcome(server: &[&str]) -> Outcome {
    play(upstream(), server).1.expect("an outcome")
}

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi";

fn ready(capabilities: &str) -> Outcome {
    Outcome::Ready(Ready { capabilities: capabilities.to_owned(), unread: vec![] })
}

#[test]
fn the_token_goes_along_with_the_command_where_the_server_takes_it() {
    let (sent, end) = play(upstream(), &[GREETING, "a OK [CAPABILITY IMAP4rev1 IDLE] welcome"]);
    assert_eq!(sent, [format!("a AUTHENTICATE XOAUTH2 {XOAUTH2}\r\n")]);
    assert_eq!(end, Some(ready("IMAP4rev1 IDLE")));
}

#[test]
fn without_sasl_ir_or_where_it_is_not_wanted_the_token_waits_for_a_continuation() {
    let two_steps = ["a AUTHENTICATE XOAUTH2\r\n".to_owned(), format!("{XOAUTH2}\r\n")];
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi";
    assert_eq!(play(upstream(), &[greeting, "+ "]).0, two_steps);
    assert_eq!(play(upstream(), &[greeting, "+"]).0, two_steps);
    let unwanted = Upstream { initial_response: false, ..upstream() };
    assert_eq!(play(unwanted, &[GREETING, "+ "]).0, two_steps);
}

#[test]
fn a_token_too_long_for_a_line_waits_for_a_continuation() {
    let long = Upstream { secret: Zeroizing::new("t".repeat(6_000)), ..upstream() };
    let (sent, _) = play(long, &[GREETING, "+ "]);
    assert_eq!(sent[0], "a AUTHENTICATE XOAUTH2\r\n");
    assert!(sent[1].len() > 8_000);
    let short = Upstream { secret: Zeroizing::new("t".repeat(5_900)), ..upstream() };
    assert!(play(short, &[GREETING]).0[0].len() > 7_900);
}

#[test]
fn a_server_that_greets_without_capabilities_is_asked_for_them() {
    let (sent, end) = play(
        upstream(),
        &["* OK ready", "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER", "c OK", "+ "],
    );
    assert_eq!(sent[0], "c CAPABILITY\r\n");
    assert_eq!(sent[2], "a AUTHENTICATE OAUTHBEARER\r\n");
    assert_eq!(end, None);
}

#[test]
fn capabilities_after_login_are_taken_from_wherever_they_come() {
    let tagged = ["a OK [CAPABILITY X] in"];
    let untagged = ["* CAPABILITY X", "a OK in"];
    let asked = ["a OK in", "* CAPABILITY X", "p OK"];
    for lines in [&tagged[..], &untagged, &asked] {
        assert_eq!(outcome(&[&[GREETING], lines].concat()), ready("X"), "{lines:?}");
    }
    assert_eq!(outcome(&[GREETING, "a OK in", "p NO never"]), ready(""));
}

#[test]
fn an_error_challenge_is_answered_and_the_final_answer_counts() {
    let challenge = "+ eyJzdGF0dXMiOiI0MDAifQ==";
    let (sent, end) = play(upstream(), &[GREETING, challenge, "a NO [AUTHENTICATIONFAILED] Bad"]);
    assert_eq!(sent[1], "\r\n");
    assert!(matches!(end, Some(Outcome::Refused { .. })));
    let bearer = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] hi";
    let (sent, end) = play(
        upstream(),
        &[bearer, challenge, "a NO [ALERT] Too many simultaneous connections. (Failure)"],
    );
    assert_eq!(sent[1], "AQ==\r\n");
    assert!(matches!(end, Some(Outcome::Limit { .. })));
    let endless = [&[GREETING][..], &[challenge; 4]].concat();
    assert!(matches!(outcome(&endless), Outcome::Unavailable { .. }));
}

#[test]
fn an_ok_is_proven_where_the_provider_says_ok_too_early() {
    let probing = || Upstream { probe_after_login: true, ..upstream() };
    let (sent, end) =
        play(probing(), &[GREETING, "a OK [CAPABILITY X] in", "* 1 RECENT", "n OK done"]);
    assert_eq!((sent[1].as_str(), end), ("n NOOP\r\n", Some(ready("X"))));
    let liar = [GREETING, "a OK in", "n BAD User is authenticated but not connected."];
    assert!(matches!(play(probing(), &liar).1, Some(Outcome::Unavailable { .. })));
}

#[test]
fn starttls_comes_first_and_what_was_offered_in_clear_is_forgotten() {
    let starttls = || Upstream { starttls: true, ..upstream() };
    let (sent, end) =
        play(starttls(), &[GREETING, "t OK go", "* CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER", "c OK"]);
    assert_eq!(sent[0], "t STARTTLS\r\n");
    assert_eq!(sent[1], "TLS c CAPABILITY\r\n");
    assert_eq!(sent[3], "a AUTHENTICATE OAUTHBEARER\r\n");
    assert_eq!(end, None);
    let stripped = play(starttls(), &[GREETING, "t NO not here"]).1;
    assert!(matches!(stripped, Some(Outcome::Unavailable { .. })));
}

fn injected() -> &'static [u8] {
    b"t OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
}

fn waiting_for_tls() -> UpstreamLogin {
    let mut login = UpstreamLogin::new(Upstream { starttls: true, ..upstream() });
    login.advance(ProviderEvent::Opened);
    login.advance(ProviderEvent::Bytes(b"* OK hi\r\n"));
    login
}

#[test]
fn bytes_in_clear_behind_the_answer_to_starttls_end_the_attempt() {
    let step = waiting_for_tls().advance(ProviderEvent::Bytes(injected()));
    assert!(matches!(step, ProviderStep::Done(Outcome::Unavailable { .. })));
}

#[test]
fn without_that_guard_a_list_sent_in_clear_would_choose_the_mechanism() {
    let mut login = waiting_for_tls();
    login.upstream.mechanisms = vec![Mechanism::XOauth2, Mechanism::Plain];
    let (answer, rest) = injected().split_at(b"t OK go\r\n".len());
    assert!(matches!(login.advance(ProviderEvent::Bytes(answer)), ProviderStep::StartTls { .. }));
    login.advance(ProviderEvent::Secured);
    // An unguarded reader finds the injected list in its buffer now, and takes it for what TLS protects.
    login.advance(ProviderEvent::Bytes(rest));
    let ProviderStep::Listen { say } = login.advance(ProviderEvent::Bytes(b"c OK\r\n")) else {
        panic!()
    };
    assert!(say.starts_with(b"a AUTHENTICATE PLAIN"));
}

#[test]
fn a_server_that_is_not_ours_to_log_in_to_gets_no_token() {
    for lines in [
        &["* PREAUTH welcome"][..],
        &["* BYE busy"],
        &["* OK hi", "a OK in"],
        &["* OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5] hi"],
        &["* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi", "a OK in"],
        &["HTTP/1.1 400 Bad Request"],
        &["* OK hi", "* LIST () \"/\" {10}"],
        &[GREETING, "b OK in"],
        &[GREETING, "a BAD what"],
        &[GREETING, "* BYE Session invalidated"],
    ] {
        assert!(matches!(outcome(lines), Outcome::Unavailable { .. }), "{lines:?}");
    }
}

#[test]
fn bytes_behind_the_answer_to_the_login_are_for_the_client() {
    let whole = format!("{GREETING}\r\na OK [CAPABILITY X] in\r\n* 3 EXISTS\r\n* 1 FET");
    for split in 0..whole.len() {
        let mut login = UpstreamLogin::new(upstream());
        let (first, second) = whole.as_bytes().split_at(split);
        let unread = match login.advance(ProviderEvent::Bytes(first)) {
            ProviderStep::Done(Outcome::Ready(ready)) => [&ready.unread, second].concat(),
            _ => match login.advance(ProviderEvent::Bytes(second)) {
                ProviderStep::Done(Outcome::Ready(ready)) => ready.unread,
                step => panic!("{step:?}"),
            },
        };
        assert_eq!(unread, b"* 3 EXISTS\r\n* 1 FET", "split at {split}");
    }
}

proptest! {
    #[test]
    fn no_server_makes_it_panic_or_hold_more_than_80_kib(
        pieces in proptest::collection::vec(prop_oneof![
            proptest::sample::select(vec![
                "* OK hi\r\n", "c OK\r\n", "* CAPABILITY AUTH=XOAUTH2\r\n", "+ \r\n", "a OK\r\n", "t OK\r\n", "\0",
                "* ", "\n", "{9}\r\n",
            ]).prop_map(|word| word.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..200),
            (any::<u8>(), 0..70_000usize).prop_map(|(byte, count)| vec![byte; count]),
        ], 0..40),
        starttls in any::<bool>(),
    ) {
        let mut login = UpstreamLogin::new(Upstream { starttls, ..upstream() });
        for piece in pieces {
            let step = login.advance(ProviderEvent::Bytes(&piece));
            prop_assert!(login.held() <= 80 * 1024);
            match step {
                ProviderStep::StartTls { .. } => { login.advance(ProviderEvent::Secured); }
                ProviderStep::Done(_) => return Ok(()),
                ProviderStep::Listen { .. } => {}
            }
        }
    }
}
