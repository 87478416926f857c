//! Which extensions an EHLO shows.
//!
//! Never promises what the mail server behind us lacks, and never passes on what is ours to say: AUTH and STARTTLS end
//! at the adapter, XCLIENT and its like would let a client lie about itself. Invariant: the answer is at most
//! [`MOST`] keywords and [`BYTES`] bytes, whatever was probed. Next: `downstream` writes the answer.

use adapter_core::dialogue::ClientFacts;

/// Keywords shown at most.
const MOST: usize = 40;

/// Bytes of keywords shown at most; one is at most [`LINE`] long.
const BYTES: usize = 3072;

/// RFC 5321 section 4.5.3.1.5: a reply line is at most 512 bytes with its code and CRLF.
const LINE: usize = 512 - 6;

/// What is shown until the first login told what the servers behind us can.
///
/// An extension that is missing costs a client a little, one that is there and then refused costs it the message. So
/// only what every submission server has and what changes no command when it is wrong:
/// - `8BITMIME`: servers without it pass eight bits on anyhow, clients without it re-encode or give up.
/// - `ENHANCEDSTATUSCODES`: true of our own replies, and only says how replies may be read.
///
/// Left out: `SIZE` (clients then add `SIZE=` to MAIL, and a server without it refuses the command), `PIPELINING` and
/// `DSN` (likewise not everywhere), `SMTPUTF8` and `CHUNKING` (change what is sent).
const UNTIL_PROBED: [&str; 2] = ["8BITMIME", "ENHANCEDSTATUSCODES"];

/// Keywords that are between two neighbours and must not pass a third.
const HOP_BY_HOP: [&str; 7] =
    ["AUTH", "STARTTLS", "XCLIENT", "XFORWARD", "X-EXPS", "X-ANONYMOUSTLS", "XCONNECT"];

/// The keyword lines of an EHLO answer, without the first line that names the server.
pub(crate) fn shown(facts: &ClientFacts) -> Vec<String> {
    let mut lines = Vec::new();
    if facts.extensions.is_empty() {
        lines.extend(UNTIL_PROBED.map(str::to_owned));
    } else {
        gather(&facts.extensions, &mut lines);
    }
    if facts.starttls && !facts.encrypted {
        lines.push("STARTTLS".to_owned());
    }
    if facts.encrypted || facts.plain_allowed {
        lines.push("AUTH PLAIN LOGIN".to_owned());
    }
    lines
}

fn gather(probed: &[String], lines: &mut Vec<String>) {
    let mut seen: Vec<String> = Vec::new();
    let mut bytes = 0;
    for line in probed.iter().take(MOST) {
        let word = keyword(line);
        bytes += line.len();
        if bytes > BYTES || !is_clean(line) || is_hop_by_hop(&word) || seen.contains(&word) {
            continue;
        }
        seen.push(word);
        lines.push(line.clone());
    }
}

/// The first word in capitals; `AUTH=LOGIN`, an old form of some servers, is an AUTH too.
fn keyword(line: &str) -> String {
    let end = line.find([' ', '=']).unwrap_or(line.len());
    line[..end].to_ascii_uppercase()
}

fn is_hop_by_hop(keyword: &str) -> bool {
    HOP_BY_HOP.contains(&keyword)
}

/// RFC 5321 section 4.1.1.1: a keyword is letters, digits and hyphens; parameters are printable.
fn is_clean(line: &str) -> bool {
    let word = keyword(line);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !word.is_empty()
        && line.len() <= LINE
        && word.bytes().all(legal)
        && line.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::facts;

    fn with(extensions: &[&str]) -> ClientFacts {
        ClientFacts { extensions: extensions.iter().map(|e| (*e).to_owned()).collect(), ..facts() }
    }

    #[test]
    fn only_what_the_server_behind_has_is_shown() {
        let lines = shown(&with(&["SIZE 35882577", "PIPELINING", "CHUNKING", "DSN"]));
        assert_eq!(lines, ["SIZE 35882577", "PIPELINING", "CHUNKING", "DSN", "AUTH PLAIN LOGIN"]);
        let lines = shown(&with(&["8BITMIME"]));
        assert!(!lines.iter().any(|line| line.contains("CHUNKING") || line.contains("SIZE")));
    }

    #[test]
    fn until_something_is_known_only_what_cannot_harm_is_shown() {
        assert_eq!(shown(&with(&[])), ["8BITMIME", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN"]);
    }

    #[test]
    fn what_belongs_to_the_hop_behind_us_is_not_passed_on() {
        let lines = shown(&with(&[
            "AUTH XOAUTH2 PLAIN",
            "auth=login",
            "STARTTLS",
            "XCLIENT NAME ADDR",
            "xforward",
            "X-EXPS GSSAPI NTLM",
            "DSN",
        ]));
        assert_eq!(lines, ["DSN", "AUTH PLAIN LOGIN"]);
    }

    #[test]
    fn a_line_that_would_break_the_answer_is_dropped() {
        let long = format!("X {}", "y".repeat(600));
        let lines = shown(&with(&["DSN\r\n250 AUTH", "", " DSN", "D\u{f6}N", &long, "DSN", "dsn"]));
        assert_eq!(lines, ["DSN", "AUTH PLAIN LOGIN"]);
    }

    #[test]
    fn a_thousand_probed_lines_make_a_short_answer() {
        let probed: Vec<String> = (0..1000).map(|n| format!("X{n} {}", "y".repeat(100))).collect();
        let lines = shown(&ClientFacts { extensions: probed, ..facts() });
        assert!(lines.iter().map(String::len).sum::<usize>() < BYTES + 100);
    }

    #[test]
    fn auth_is_offered_where_a_password_is_safe_and_starttls_where_it_makes_it_so() {
        let clear =
            ClientFacts { encrypted: false, starttls: true, plain_allowed: false, ..facts() };
        assert_eq!(shown(&clear).last().map(String::as_str), Some("STARTTLS"));
        let loopback = ClientFacts { plain_allowed: true, ..clear.clone() };
        assert!(shown(&loopback).ends_with(&["STARTTLS".into(), "AUTH PLAIN LOGIN".into()]));
        let secure = ClientFacts { encrypted: true, ..clear };
        assert!(!shown(&secure).contains(&"STARTTLS".to_owned()));
        assert!(shown(&secure).contains(&"AUTH PLAIN LOGIN".to_owned()));
    }
}
