//! Reads one command line of a client that has not logged in yet.
//!
//! Never answers, never decodes a credential: it only names what was asked. Invariant: what is not a command we know is
//! a [`Command::Unknown`], so nothing a client types can reach past `downstream`. Next: `downstream` answers.

use zeroize::Zeroizing;

use crate::line::LONGEST;

/// The longest command line except AUTH, in bytes without CRLF. RFC 5321 section 4.5.3.1.4 asks for 512; clients with
/// long MAIL parameters exceed that, and peers allow 4 KiB.
const ORDINARY: usize = 4096 - 2;

/// What a client asks before it is logged in.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) enum Command {
    /// EHLO with a name.
    Ehlo,
    /// HELO with a name.
    Helo,
    /// STARTTLS without anything behind it.
    StartTls,
    /// AUTH with a mechanism we have.
    Auth(Mechanism, Option<Initial>),
    /// AUTH with a mechanism we do not have.
    UnknownMechanism,
    /// NOOP.
    Noop,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
    /// VRFY: whether an address exists.
    Vrfy,
    /// HELP.
    Help,
    /// MAIL, RCPT, DATA, EXPN and what else needs a login.
    NeedsLogin,
    /// BDAT, whose payload follows at once and cannot be told from commands when the BDAT is refused.
    Bdat,
    /// The first word of an HTTP request: a browser was sent here to speak SMTP with a stranger's words.
    Http,
    /// A known command with missing or surplus parameters.
    BadParameters,
    /// Nothing we know.
    Unknown,
}

/// How a client may show its credential. Both carry it in clear, TLS is what protects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 4616.
    Plain,
    /// User name and password in two answers; no RFC, but the only one some devices know.
    Login,
}

/// The initial response of an AUTH command as it came, in base64; `=` is already taken for the empty one.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct Initial(pub(crate) Zeroizing<Vec<u8>>);

/// How long a command line that begins so may be, in bytes without CRLF.
pub(crate) fn limit(start: &[u8]) -> usize {
    if is_auth(start) { LONGEST } else { ORDINARY }
}

/// Whether a line is, or may become, an AUTH command.
pub(crate) fn is_auth(start: &[u8]) -> bool {
    start.len() >= 5 && start[..5].eq_ignore_ascii_case(b"AUTH ")
}

/// Reads a clean line.
pub(crate) fn parse(line: &[u8]) -> Command {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let Some(verb) = words.next() else { return Command::Unknown };
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => with_parameters(words, Command::Ehlo),
        b"HELO" => with_parameters(words, Command::Helo),
        b"STARTTLS" => alone(words, Command::StartTls),
        b"AUTH" => auth(words),
        b"NOOP" => Command::Noop,
        b"RSET" => alone(words, Command::Rset),
        b"QUIT" => alone(words, Command::Quit),
        b"VRFY" => with_parameters(words, Command::Vrfy),
        b"HELP" => Command::Help,
        b"MAIL" | b"RCPT" | b"DATA" | b"EXPN" | b"ETRN" | b"BURL" => Command::NeedsLogin,
        b"BDAT" => Command::Bdat,
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" | b"DELETE" => Command::Http,
        _ => Command::Unknown,
    }
}

fn auth<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Command {
    let Some(name) = words.next() else { return Command::BadParameters };
    let initial = words.next().map(|word| {
        let empty = word == b"=";
        Initial(Zeroizing::new(if empty { Vec::new() } else { word.to_vec() }))
    });
    if words.next().is_some() {
        return Command::BadParameters;
    }
    match name.to_ascii_uppercase().as_slice() {
        b"PLAIN" => Command::Auth(Mechanism::Plain, initial),
        b"LOGIN" => Command::Auth(Mechanism::Login, initial),
        _ => Command::UnknownMechanism,
    }
}

fn with_parameters<'a>(mut words: impl Iterator<Item = &'a [u8]>, command: Command) -> Command {
    if words.next().is_some() { command } else { Command::BadParameters }
}

fn alone<'a>(mut words: impl Iterator<Item = &'a [u8]>, command: Command) -> Command {
    if words.next().is_none() { command } else { Command::BadParameters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_in_any_case_and_with_spaces_behind_them() {
        assert_eq!(parse(b"ehlo client.example"), Command::Ehlo);
        assert_eq!(parse(b"HeLo [127.0.0.1]"), Command::Helo);
        assert_eq!(parse(b"STARTTLS "), Command::StartTls);
        assert_eq!(parse(b"noop and some words"), Command::Noop);
        assert_eq!(parse(b"QUIT"), Command::Quit);
        assert_eq!(parse(b"MAIL FROM:<a@b>"), Command::NeedsLogin);
        assert_eq!(parse(b"BDAT 10 LAST"), Command::Bdat);
        assert_eq!(parse(b"POST / HTTP/1.1"), Command::Http);
        assert_eq!(parse(b""), Command::Unknown);
        assert_eq!(parse(b"XFOO"), Command::Unknown);
    }

    #[test]
    fn missing_and_surplus_parameters_are_told_from_unknown_commands() {
        for line in ["EHLO", "HELO ", "STARTTLS now", "AUTH", "QUIT me", "AUTH PLAIN a b"] {
            assert_eq!(parse(line.as_bytes()), Command::BadParameters, "{line}");
        }
    }

    #[test]
    fn auth_comes_with_an_initial_response_an_empty_one_or_none() {
        let initial = |text: &str| Some(Initial(Zeroizing::new(text.as_bytes().to_vec())));
        assert_eq!(parse(b"AUTH PLAIN"), Command::Auth(Mechanism::Plain, None));
        assert_eq!(parse(b"AUTH PLAIN ="), Command::Auth(Mechanism::Plain, initial("")));
        assert_eq!(parse(b"auth login QQ=="), Command::Auth(Mechanism::Login, initial("QQ==")));
        assert_eq!(parse(b"AUTH CRAM-MD5"), Command::UnknownMechanism);
    }

    #[test]
    fn only_auth_lines_may_be_long() {
        assert_eq!(limit(b"auth plain AAAA"), LONGEST);
        assert_eq!(limit(b"EHLO AUTH "), ORDINARY);
        assert_eq!(limit(b"AUT"), ORDINARY);
    }
}
