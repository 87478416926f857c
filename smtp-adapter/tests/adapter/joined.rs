//! Both dialogues of the adapter joined in memory, from the client's first byte to the relay.
//!
//! Never opens a socket: what is tested is that the two sides fit each other and a server, however bytes are cut.

use adapter_core::dialogue::{
    Blame, ClientEvent, ClientFacts, ClientStep, Mechanism, Outcome, Protocol, ProviderEvent,
    ProviderStep, Upstream, Verdict,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smtp_adapter::Smtp;
use zeroize::Zeroizing;

const TOKEN: &str = "ya29.token-marker";
const CREDENTIAL: &str = "tb_credential-marker";
const MAIL: &str = "MAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n";
const CHALLENGE: &str = "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=";

/// A mail server that takes one token.
#[derive(Default)]
struct Server {
    read: Vec<u8>,
    heard: Vec<String>,
}

impl Server {
    const GREETING: &'static str = "220 smtp.provider.example ESMTP\r\n";

    fn hears(&mut self, bytes: &[u8]) -> String {
        self.read.extend_from_slice(bytes);
        let mut answers = String::new();
        while let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=at).collect();
            let line = String::from_utf8(line).unwrap().trim_end().to_owned();
            answers.push_str(&Self::answer(&line));
            self.heard.push(line);
        }
        answers
    }

    fn answer(line: &str) -> String {
        let good = format!("user=alice@example.com\x01auth=Bearer {TOKEN}\x01\x01");
        match line {
            "AUTH XOAUTH2" => "334 \r\n".to_owned(),
            "" => "535-5.7.8 Username and Password not accepted.\r\n535 5.7.8 no\r\n".to_owned(),
            _ if line.starts_with("EHLO ") => {
                "250-smtp.provider.example\r\n250-SIZE 35882577\r\n250 AUTH XOAUTH2\r\n".to_owned()
            }
            _ if line == STANDARD.encode(good) => "235 2.7.0 Accepted\r\n".to_owned(),
            _ => format!("334 {CHALLENGE}\r\n"),
        }
    }
}

/// What everybody saw.
struct Seen {
    client: String,
    server: Server,
    relayed: Option<Vec<u8>>,
}

/// A client that sends all it has, an account with `token`, bytes cut to pieces of `size`.
fn run(input: &str, token: &str, size: usize) -> Seen {
    let smtp = Smtp;
    let mut client = smtp.client(facts());
    let mut seen = Seen { client: String::new(), server: Server::default(), relayed: None };
    let mut pieces = input.as_bytes().chunks(size);
    let mut step = client.advance(ClientEvent::Opened);
    loop {
        let (said, event) = match &step {
            ClientStep::Listen { say } => (say, pieces.next().map(ClientEvent::Bytes)),
            ClientStep::Ask { say, login } => {
                assert_eq!((login.name.as_str(), login.secret.as_str()), ("alice", CREDENTIAL));
                let verdict = log_in(&smtp, token, size, &mut seen.server);
                (say, Some(ClientEvent::Verdict(verdict)))
            }
            ClientStep::Relay { say, unread } => {
                seen.relayed = Some([unread, &pieces.collect::<Vec<_>>().concat()[..]].concat());
                pieces = [].chunks(1);
                (say, None)
            }
            ClientStep::StartTls { say } | ClientStep::Close { say } => (say, None),
        };
        seen.client.push_str(std::str::from_utf8(said).unwrap());
        match event {
            Some(event) => step = client.advance(event),
            None => return seen,
        }
    }
}

fn log_in(smtp: &Smtp, token: &str, size: usize, server: &mut Server) -> Verdict {
    let mut provider = smtp.provider(upstream(token));
    let mut step = provider.advance(ProviderEvent::Opened);
    let mut pending = Server::GREETING.to_owned().into_bytes();
    loop {
        match step {
            ProviderStep::Listen { say } => {
                pending.extend(server.hears(&say).into_bytes());
                assert!(!pending.is_empty(), "both sides wait");
                let piece: Vec<u8> = pending.drain(..size.min(pending.len())).collect();
                step = provider.advance(ProviderEvent::Bytes(&piece));
            }
            ProviderStep::StartTls { .. } => panic!("not asked for"),
            ProviderStep::Done(Outcome::Ready(ready)) => return Verdict::Accepted(ready),
            ProviderStep::Done(Outcome::Refused { said }) => {
                assert!(said.starts_with("535 5.7.8"));
                let text = "https://broker.example/c/1".to_owned();
                return Verdict::Denied { blame: Blame::NeedsConsent, text };
            }
            ProviderStep::Done(other) => panic!("{other:?}"),
        }
    }
}

fn facts() -> ClientFacts {
    ClientFacts {
        server_name: "mail.example".to_owned(),
        encrypted: true,
        starttls: false,
        plain_allowed: false,
        extensions: vec!["SIZE 35882577".to_owned(), "AUTH XOAUTH2".to_owned()],
        attempts: 3,
    }
}

fn upstream(token: &str) -> Upstream {
    Upstream {
        host: "smtp.provider.example".to_owned(),
        port: 465,
        starttls: false,
        helo_name: "[127.0.0.1]".to_owned(),
        user: "alice@example.com".to_owned(),
        secret: Zeroizing::new(token.to_owned()),
        mechanisms: vec![Mechanism::XOauth2, Mechanism::OAuthBearer],
        initial_response: true,
        probe_after_login: false,
    }
}

fn login() -> String {
    let response = STANDARD.encode(format!("\0alice\0{CREDENTIAL}"));
    format!("EHLO client.example\r\nAUTH PLAIN {response}\r\n")
}

#[test]
fn a_password_here_becomes_a_token_there_and_the_mail_follows() {
    for size in [1, 2, 3, 7, 64, 4096] {
        let seen = run(&(login() + MAIL), TOKEN, size);
        assert_eq!(
            seen.client,
            "220 mail.example ESMTP ready\r\n250-mail.example\r\n250-SIZE 35882577\r\n\
             250 AUTH PLAIN LOGIN\r\n235 2.7.0 Authentication successful\r\n"
        );
        assert_eq!(seen.server.heard[..2], ["EHLO [127.0.0.1]", "AUTH XOAUTH2"]);
        assert_eq!(seen.server.heard.len(), 3);
        assert_eq!(seen.relayed.as_deref(), Some(MAIL.as_bytes()), "pieces of {size}");
    }
}

#[test]
fn neither_side_sees_the_secret_of_the_other() {
    let seen = run(&(login() + MAIL), TOKEN, 4096);
    let server = seen.server.heard.join("\n");
    assert!(!seen.client.contains(TOKEN) && !server.contains(CREDENTIAL));
    assert!(!server.contains(&STANDARD.encode(CREDENTIAL)[..12]));
}

#[test]
fn a_refused_token_is_told_in_our_words_and_the_mail_goes_nowhere() {
    for size in [1, 5, 4096] {
        let seen = run(&(login() + MAIL), "an old token", size);
        assert!(seen.client.contains("535 5.7.8 The owner of this mailbox"), "{}", seen.client);
        assert!(seen.client.contains("https://broker.example/c/1\r\n530 5.7.0"), "{}", seen.client);
        assert!(!seen.client.contains(CHALLENGE) && !seen.client.contains("not accepted"));
        assert_eq!(seen.server.heard.last().map(String::as_str), Some(""), "the challenge answer");
        assert_eq!(seen.relayed, None);
    }
}
