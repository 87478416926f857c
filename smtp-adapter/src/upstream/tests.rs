//! Servers that take the token, refuse it, are busy, lie or flood, and what the provider's dialogue makes of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::cast::upstream;

const XOAUTH2: &str =
    "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB0b2stMTIzLXNlY3JldC1tYXJrZXIBAQ==\r\n";
const OFFER: &str = "250-smtp.provider.example at your service\r\n250-SIZE 35882577\r\n250-8BITMIME\r\n\
                     250-AUTH LOGIN PLAIN XOAUTH2 OAUTHBEARER\r\n250 SMTPUTF8\r\n";
const JSON: &str = "334 eyJzdGF0dXMiOiI0MDAifQ==\r\n";

fn connect(upstream: Upstream) -> Provider {
    let mut provider = Provider::new(upstream);
    assert_eq!(provider.advance(ProviderEvent::Opened), listen(""));
    provider
}

fn listen(text: &str) -> ProviderStep {
    ProviderStep::Listen { say: Zeroizing::new(text.as_bytes().to_vec()) }
}

/// The server says a line, we answer.
fn dialogue(provider: &mut Provider, script: &[(&str, &str)]) {
    for (server, ours) in script {
        assert_eq!(
            provider.advance(ProviderEvent::Bytes(server.as_bytes())),
            listen(ours),
            "{server}"
        );
    }
}

/// Brings a login to the place where the token was just sent.
fn at_the_verdict(upstream: Upstream) -> Provider {
    let mut provider = connect(upstream);
    dialogue(
        &mut provider,
        &[
            ("220 smtp.provider.example ESMTP\r\n", "EHLO [127.0.0.1]\r\n"),
            (OFFER, "AUTH XOAUTH2\r\n"),
            ("334 \r\n", XOAUTH2),
        ],
    );
    provider
}

fn outcome(provider: &mut Provider, server: &str) -> Outcome {
    match provider.advance(ProviderEvent::Bytes(server.as_bytes())) {
        ProviderStep::Done(outcome) => outcome,
        other => panic!("not decided: {other:?}"),
    }
}

fn is_unavailable(provider: &mut Provider, server: &str) -> bool {
    matches!(outcome(provider, server), Outcome::Unavailable { .. })
}

#[test]
fn the_token_is_sent_only_after_the_challenge_and_235_lets_us_in() {
    let mut provider = at_the_verdict(upstream());
    let Outcome::Ready(ready) = outcome(&mut provider, "235 2.7.0 Accepted\r\n") else { panic!() };
    assert_eq!(
        ready.capabilities,
        "SIZE 35882577\n8BITMIME\nAUTH LOGIN PLAIN XOAUTH2 OAUTHBEARER\nSMTPUTF8"
    );
    assert!(ready.unread.is_empty());
}

#[test]
fn a_token_of_ten_kib_takes_the_same_two_steps() {
    let secret = Zeroizing::new("t".repeat(9000));
    let mut provider = connect(Upstream { secret, ..upstream() });
    dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), (OFFER, "AUTH XOAUTH2\r\n")]);
    let ProviderStep::Listen { say } = provider.advance(ProviderEvent::Bytes(b"334 \r\n")) else {
        panic!()
    };
    assert!(say.len() > 12_000 && say.ends_with(b"\r\n"));
}

#[test]
fn a_token_that_fits_no_sasl_line_is_not_blamed_and_not_sent() {
    let mut provider = connect(Upstream { secret: Zeroizing::new("t".repeat(9300)), ..upstream() });
    dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
    assert!(is_unavailable(&mut provider, OFFER));
}

#[test]
fn the_first_of_our_mechanisms_that_is_offered_is_taken() {
    let bearer = "250-x\r\n250 AUTH OAUTHBEARER PLAIN\r\n";
    let old_form = "250-x\r\n250 auth=xoauth2\r\n";
    let plain_first =
        Upstream { mechanisms: vec![Mechanism::Plain, Mechanism::XOauth2], ..upstream() };
    for (upstream, offer, auth) in [
        (upstream(), bearer, "AUTH OAUTHBEARER\r\n"),
        (upstream(), old_form, "AUTH XOAUTH2\r\n"),
        (plain_first, OFFER, "AUTH PLAIN\r\n"),
    ] {
        let mut provider = connect(upstream);
        dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), (offer, auth)]);
    }
}

#[test]
fn oauthbearer_names_the_host_and_port_we_dialled() {
    let mut provider = connect(Upstream { mechanisms: vec![Mechanism::OAuthBearer], ..upstream() });
    dialogue(
        &mut provider,
        &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), (OFFER, "AUTH OAUTHBEARER\r\n")],
    );
    let ProviderStep::Listen { say } = provider.advance(ProviderEvent::Bytes(b"334 \r\n")) else {
        panic!()
    };
    let text = STANDARD.decode(&say[..say.len() - 2]).unwrap();
    assert!(
        text.starts_with(b"n,a=alice@example.com,\x01host=smtp.provider.example\x01port=465\x01")
    );
    dialogue(&mut provider, &[(JSON, "AQ==\r\n")]);
    assert!(matches!(outcome(&mut provider, "535 5.7.8 no\r\n"), Outcome::Refused { .. }));
}

#[test]
fn a_server_that_offers_none_of_our_mechanisms_is_not_shown_the_token() {
    for offer in ["250 x\r\n", "250-x\r\n250 AUTH CRAM-MD5 XOAUTH\r\n", "250 AUTH XOAUTH2\r\n"] {
        let mut provider = connect(upstream());
        dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
        let Outcome::Unavailable { said } = outcome(&mut provider, offer) else {
            panic!("{offer}")
        };
        assert!(said.contains("mechanisms"), "{offer}");
    }
}

#[test]
fn the_error_challenge_is_answered_with_an_empty_line_and_what_follows_decides() {
    for (last, refused) in
        [("535-5.7.8 no\r\n535 5.7.8 really\r\n", true), ("454 4.7.0 later\r\n", false)]
    {
        let mut provider = at_the_verdict(upstream());
        dialogue(&mut provider, &[(JSON, "\r\n")]);
        let outcome = outcome(&mut provider, last);
        assert_eq!(matches!(outcome, Outcome::Refused { .. }), refused, "{last}");
    }
    let mut provider = at_the_verdict(upstream());
    dialogue(&mut provider, &[(JSON, "\r\n")]);
    let limit = outcome(&mut provider, "421 4.7.0 Too many concurrent connections\r\n");
    assert!(matches!(limit, Outcome::Limit { .. }));
}

#[test]
fn a_server_cannot_ask_for_ever() {
    let mut provider = at_the_verdict(upstream());
    dialogue(&mut provider, &[(JSON, "\r\n")]);
    assert!(is_unavailable(&mut provider, JSON));
    let mut provider = at_the_verdict(upstream());
    dialogue(&mut provider, &[(JSON, "\r\n")]);
    assert!(is_unavailable(&mut provider, "235 2.7.0 after all\r\n"));
}

#[test]
fn a_refusal_is_the_tokens_fault_and_what_was_said_is_kept() {
    let mut provider = at_the_verdict(upstream());
    let refused = outcome(&mut provider, "535 5.7.3 Authentication unsuccessful\r\n");
    assert_eq!(
        refused,
        Outcome::Refused { said: "535 5.7.3 Authentication unsuccessful".to_owned() }
    );
}

#[test]
fn trouble_before_the_token_is_never_its_fault() {
    for (script, last) in [
        (&[][..], "554 5.7.1 No\r\n"),
        (&[][..], "421 4.3.2 busy\r\n"),
        (&[("220 x\r\n", "EHLO [127.0.0.1]\r\n")][..], "535 5.7.8 what\r\n"),
        (
            &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), (OFFER, "AUTH XOAUTH2\r\n")][..],
            "535 5.7.8 no\r\n",
        ),
        (
            &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), (OFFER, "AUTH XOAUTH2\r\n")][..],
            "235 2.7.0 oh\r\n",
        ),
    ] {
        let mut provider = connect(upstream());
        dialogue(&mut provider, script);
        assert!(is_unavailable(&mut provider, last), "{last}");
    }
}

#[test]
fn a_login_may_have_to_be_proven() {
    let proven = || at_the_verdict(Upstream { probe_after_login: true, ..upstream() });
    let mut provider = proven();
    dialogue(&mut provider, &[("235 ok\r\n", "NOOP\r\n")]);
    assert!(matches!(outcome(&mut provider, "250 ok\r\n"), Outcome::Ready(_)));
    let mut provider = proven();
    dialogue(&mut provider, &[("235 ok\r\n", "NOOP\r\n")]);
    assert!(is_unavailable(&mut provider, "530 5.7.57 Client not authenticated\r\n"));
}

fn clear() -> Upstream {
    Upstream { starttls: true, port: 587, ..upstream() }
}

#[test]
fn starttls_comes_before_anything_else_and_ehlo_is_said_again() {
    let mut provider = connect(clear());
    dialogue(
        &mut provider,
        &[
            ("220 x\r\n", "EHLO [127.0.0.1]\r\n"),
            ("250-x\r\n250-AUTH XOAUTH2\r\n250 STARTTLS\r\n", "STARTTLS\r\n"),
        ],
    );
    let step = provider.advance(ProviderEvent::Bytes(b"220 2.0.0 go\r\n"));
    assert_eq!(step, ProviderStep::StartTls { say: Vec::new() });
    assert_eq!(provider.advance(ProviderEvent::Secured), listen("EHLO [127.0.0.1]\r\n"));
    dialogue(&mut provider, &[("250-x\r\n250 AUTH OAUTHBEARER\r\n", "AUTH OAUTHBEARER\r\n")]);
}

#[test]
fn a_server_whose_starttls_was_stripped_gets_nothing() {
    let mut provider = connect(clear());
    dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
    assert!(is_unavailable(&mut provider, "250-x\r\n250 AUTH XOAUTH2\r\n"));
    let mut provider = connect(clear());
    dialogue(
        &mut provider,
        &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n")],
    );
    assert!(is_unavailable(&mut provider, "454 4.7.0 not now\r\n"));
}

/// What an attacker between us and the server says behind the 220, for us to read inside TLS.
const INJECTED: &str = "220 2.0.0 go\r\n250-evil\r\n250 AUTH PLAIN\r\n";

#[test]
fn an_answer_injected_behind_starttls_ends_the_attempt_however_it_is_split() {
    let start = "220 2.0.0 go\r\n".len();
    for at in 0..INJECTED.len() {
        let mut provider = connect(clear());
        dialogue(
            &mut provider,
            &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n")],
        );
        let first = provider.advance(ProviderEvent::Bytes(&INJECTED.as_bytes()[..at]));
        assert_eq!(matches!(first, ProviderStep::StartTls { .. }), at == start, "split at {at}");
        let step = if matches!(first, ProviderStep::Done(_)) {
            first
        } else {
            provider.advance(ProviderEvent::Bytes(&INJECTED.as_bytes()[at..]))
        };
        let ProviderStep::Done(Outcome::Unavailable { .. }) = step else { panic!("split at {at}") };
    }
}

/// The mistake: what was read ahead of the handshake is kept and goes on being read after it.
fn reads_ahead(provider: &mut Provider, text: &str, before: usize) -> ProviderStep {
    provider.advance(ProviderEvent::Bytes(&text.as_bytes()[..before]));
    provider.advance(ProviderEvent::Secured);
    provider.advance(ProviderEvent::Bytes(&text.as_bytes()[before..]))
}

#[test]
fn without_the_guard_an_answer_sent_in_clear_chooses_the_mechanism() {
    let mechanisms = vec![Mechanism::XOauth2, Mechanism::Plain];
    let mut provider = connect(Upstream { mechanisms, ..clear() });
    dialogue(
        &mut provider,
        &[("220 x\r\n", "EHLO [127.0.0.1]\r\n"), ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n")],
    );
    let step = reads_ahead(&mut provider, INJECTED, "220 2.0.0 go\r\n".len());
    assert_eq!(step, listen("AUTH PLAIN\r\n"));
}

#[test]
fn a_server_that_speaks_out_of_turn_is_not_believed() {
    let ahead = format!("220 x\r\n{OFFER}");
    assert!(is_unavailable(&mut connect(upstream()), &ahead));
    let mut provider = connect(upstream());
    dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
    assert!(is_unavailable(&mut provider, &format!("{OFFER}334 \r\n")));
    assert!(is_unavailable(&mut connect(upstream()), "220 x\r\n2"));
}

#[test]
fn what_comes_behind_235_is_kept_for_the_client_up_to_8_kib() {
    let mut provider = at_the_verdict(upstream());
    let ready = outcome(&mut provider, "235 ok\r\n421 4.3.2 going down\r\n");
    let Outcome::Ready(Ready { unread, .. }) = ready else { panic!() };
    assert_eq!(unread, b"421 4.3.2 going down\r\n");
    let mut provider = at_the_verdict(upstream());
    assert!(is_unavailable(&mut provider, &format!("235 ok\r\n{}", "x".repeat(UNREAD + 1))));
}

#[test]
fn nonsense_is_unavailable() {
    for server in ["* OK IMAP4rev1\r\n", "220 x\n", "22\0 x\r\n", "220-x\r\n250 y\r\n", "\r\n"] {
        assert!(is_unavailable(&mut connect(upstream()), server), "{server:?}");
    }
    assert!(is_unavailable(&mut connect(upstream()), &format!("220 {}\r\n", "x".repeat(5000))));
    assert!(is_unavailable(&mut connect(upstream()), &"220-x\r\n".repeat(200)));
}

#[test]
fn a_control_byte_in_the_user_name_sends_nothing() {
    let evil = Upstream { user: "a\x01auth=Bearer stolen\x01\x01".to_owned(), ..upstream() };
    let mut provider = connect(evil);
    dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
    assert!(is_unavailable(&mut provider, OFFER));
}

#[test]
fn it_does_not_matter_how_the_bytes_are_split() {
    for at in 0..=OFFER.len() {
        let mut provider = connect(upstream());
        dialogue(&mut provider, &[("220 x\r\n", "EHLO [127.0.0.1]\r\n")]);
        let mut said = Vec::new();
        for part in [&OFFER[..at], &OFFER[at..]] {
            if part.is_empty() {
                continue;
            }
            match provider.advance(ProviderEvent::Bytes(part.as_bytes())) {
                ProviderStep::Listen { say } => said.extend_from_slice(&say),
                other => panic!("split at {at}: {other:?}"),
            }
        }
        assert_eq!(said, b"AUTH XOAUTH2\r\n", "split at {at}");
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"220 x\r\n",
        b"250-x\r\n",
        b"250 AUTH XOAUTH2\r\n",
        b"250-",
        b"334 \r\n",
        b"235 ok\r\n",
        b"535 no\r\n",
        b"334 e30=\r\n",
        b"\r\n",
        b"\n",
        b"\0",
        b"421 x\r\n",
        b"250 STARTTLS\r\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => (any::<u8>(), 0..40_000usize).prop_map(|(byte, n)| vec![byte; n]),
        1 => (0..200usize, 0..4090usize).prop_map(|(n, l)| [b"250-", &vec![b'y'; l][..], b"\r\n"].concat().repeat(n)),
    ]
}

proptest! {
    #[test]
    fn no_input_panics_or_makes_the_dialogue_hold_more_than_80_kib(
        pieces in proptest::collection::vec(piece(), 0..30),
        starttls in any::<bool>(),
    ) {
        let mut provider = connect(Upstream { starttls, ..upstream() });
        for piece in pieces {
            let step = provider.advance(ProviderEvent::Bytes(&piece));
            prop_assert!(provider.held() <= 80 * 1024);
            match step {
                ProviderStep::StartTls { .. } => { provider.advance(ProviderEvent::Secured); }
                ProviderStep::Done(_) => break,
                ProviderStep::Listen { .. } => {}
            }
        }
    }
}
