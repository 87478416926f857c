//! SMTP replies: those we say, and those we read.
//!
//! Never passes the mail server's words to a client, nor a client's words back to it. Invariant: a reply that is read
//! is at most [`LINES`] lines and [`BYTES`] bytes, and a reply that is said is one line of at most 512 bytes.
//! Next: `downstream` says, `upstream` reads.

use adapter_core::dialogue::{Blame, Farewell};

/// A reply line may be this long, in bytes without CRLF. RFC 5321 says 512, servers exceed it.
pub(crate) const LINE: usize = 4096;

/// Lines of one reply at most.
const LINES: usize = 128;

/// Bytes of one reply at most.
const BYTES: usize = 32 * 1024;

/// RFC 5321 section 4.5.3.1.5, without the CRLF.
const SAID_LINE: usize = 510;

pub(crate) const OK: &[u8] = b"250 2.0.0 OK\r\n";
pub(crate) const LOGGED_IN: &[u8] = b"235 2.7.0 Authentication successful\r\n";
pub(crate) const GO_AHEAD_TLS: &[u8] = b"220 2.0.0 Ready to start TLS\r\n";
pub(crate) const BYE: &[u8] = b"221 2.0.0 Bye\r\n";
pub(crate) const HELP: &[u8] =
    b"214 2.0.0 Log in with AUTH, then send mail (RFC 5321, RFC 4954)\r\n";
/// What may be said about an address before login: nothing (RFC 5321 section 7.3).
pub(crate) const NO_VERIFYING: &[u8] = b"252 2.1.5 Cannot verify, send mail and see\r\n";
pub(crate) const UNKNOWN: &[u8] = b"500 5.5.1 Command not known\r\n";
pub(crate) const DIRTY_LINE: &[u8] =
    b"500 5.5.2 NUL, bare CR or bare LF in a line, end lines with CR LF\r\n";
pub(crate) const TOO_LONG: &[u8] = b"500 5.5.2 Line too long\r\n";
pub(crate) const SASL_TOO_LONG: &[u8] = b"500 5.5.6 Authentication line too long\r\n";
pub(crate) const BAD_PARAMETERS: &[u8] = b"501 5.5.4 Wrong parameters\r\n";
pub(crate) const NOT_BASE64: &[u8] = b"501 5.5.2 Cannot decode the response\r\n";
pub(crate) const CANCELLED: &[u8] = b"501 5.7.0 Authentication cancelled\r\n";
pub(crate) const UNKNOWN_MECHANISM: &[u8] =
    b"504 5.5.4 Mechanism not known, use PLAIN or LOGIN\r\n";
pub(crate) const EHLO_FIRST: &[u8] = b"503 5.5.1 Send EHLO first\r\n";
pub(crate) const ALREADY_TLS: &[u8] = b"503 5.5.1 TLS is already active\r\n";
pub(crate) const NO_TLS: &[u8] = b"454 4.7.0 TLS not available\r\n";
pub(crate) const TLS_FIRST: &[u8] = b"530 5.7.0 Must issue a STARTTLS command first\r\n";
pub(crate) const TLS_PORT: &[u8] =
    b"530 5.7.0 Encryption required, use the port for implicit TLS\r\n";
pub(crate) const LOGIN_FIRST: &[u8] = b"530 5.7.0 Authentication required\r\n";
pub(crate) const NOT_HTTP: &[u8] = b"421 4.7.0 This is not a web server\r\n";
pub(crate) const AFTER_STARTTLS: &[u8] =
    b"503 5.5.0 Nothing may follow STARTTLS before the handshake\r\n";
pub(crate) const TOO_MUCH_AHEAD: &[u8] = b"503 5.5.0 Too much sent ahead of the answer to AUTH\r\n";
pub(crate) const TOO_MANY_COMMANDS: &[u8] = b"421 4.7.0 Too many commands without a login\r\n";
pub(crate) const TOO_MANY_REFUSALS: &[u8] = b"421 4.7.0 Too many refused logins\r\n";
pub(crate) const CONFUSED: &[u8] = b"421 4.3.0 Internal error\r\n";

/// The answer to a login that failed; `text` is the broker's sentence for the client's user and may be empty.
/// Codes: RFC 4954 section 6. A 5xx code makes clients ask for the password again, so only what the user can mend has one.
pub(crate) fn denial(blame: Blame, text: &str) -> Vec<u8> {
    let (code, sentence) = match blame {
        Blame::BadCredential => ("535 5.7.8", "Authentication credentials invalid."),
        Blame::NeedsConsent => {
            ("535 5.7.8", "The owner of this mailbox has to sign in at the mail provider again.")
        }
        Blame::ContactAdmin => {
            ("454 4.7.0", "The mail provider refuses this service, contact your administrator.")
        }
        Blame::Unavailable => ("454 4.7.0", "Temporary authentication failure, try again later."),
        Blame::Limit => ("421 4.7.0", "Too many logins or sessions, try again later."),
    };
    one_line(&format!("{code} {sentence} {text}"))
}

/// The good-bye of an adapter that ends a session on its own.
pub(crate) fn farewell(why: Farewell) -> Vec<u8> {
    match why {
        Farewell::TooSlow => b"421 4.4.2 Too slow, closing the connection\r\n".to_vec(),
        Farewell::Stopping => b"421 4.3.2 Service is stopping, try again later\r\n".to_vec(),
        Farewell::Revoked => b"421 4.7.0 Access to this mailbox was withdrawn\r\n".to_vec(),
        Farewell::NeedsConsent => {
            b"421 4.7.0 The owner of this mailbox has to consent again\r\n".to_vec()
        }
        Farewell::ContactAdmin => {
            b"421 4.7.0 Access was closed, please ask your administrator\r\n".to_vec()
        }
        Farewell::Operator => b"421 4.7.0 Closed by an administrator, try again\r\n".to_vec(),
        Farewell::CutOff => b"421 4.7.0 Temporarily unavailable, try again later\r\n".to_vec(),
    }
}

/// The greeting, and the answer to HELO.
pub(crate) fn naming(code: &str, server_name: &str, rest: &str) -> Vec<u8> {
    one_line(&format!("{code} {server_name} {rest}"))
}

/// A reply of several lines with one code; `lines` are known to be clean.
pub(crate) fn several(code: &str, lines: &[String]) -> Vec<u8> {
    let last = lines.len().saturating_sub(1);
    let mark = |at| if at == last { ' ' } else { '-' };
    let text: String = lines
        .iter()
        .enumerate()
        .map(|(at, line)| format!("{code}{}{line}\r\n", mark(at)))
        .collect();
    text.into_bytes()
}

fn one_line(text: &str) -> Vec<u8> {
    let mut line = printable(text, SAID_LINE).trim_end().to_owned().into_bytes();
    line.extend_from_slice(b"\r\n");
    line
}

/// The text with everything but printable ASCII replaced, cut at `most` bytes.
pub(crate) fn printable(text: &str, most: usize) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(most).collect()
}

/// A whole reply of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 200 to 599.
    pub(crate) code: u16,
    /// The texts behind the code, in order, printable.
    pub(crate) lines: Vec<String>,
}

impl Reply {
    /// What the server said, for our log: printable, at most 200 bytes.
    pub(crate) fn said(&self) -> String {
        printable(&format!("{} {}", self.code, self.lines.join(" ")), 200)
    }

    /// Whether the code stands for success (2) or trouble (4, 5).
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }
}

/// Why bytes are no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) &'static str);

/// The lines of a reply that have come so far.
#[derive(Default)]
pub(crate) struct Replies {
    code: Option<u16>,
    lines: Vec<String>,
    bytes: usize,
}

impl Replies {
    /// Takes one line without CRLF; gives the reply when it was the last.
    ///
    /// # Errors
    /// A line that does not fit RFC 5321 section 4.2.1, a code that changes on the way, more than the bounds.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, Nonsense> {
        let (code, last, text) = dissect(line)?;
        if self.code.is_some_and(|before| before != code) {
            return Err(Nonsense("the reply code changes within a reply"));
        }
        self.bytes += line.len();
        if self.lines.len() >= LINES || self.bytes > BYTES {
            return Err(Nonsense("the reply is too long"));
        }
        self.code = Some(code);
        self.lines.push(printable(&String::from_utf8_lossy(text), LINE));
        if !last {
            return Ok(None);
        }
        let lines = std::mem::take(self).lines;
        Ok(Some(Reply { code, lines }))
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lines.iter().map(|line| line.capacity() + size_of::<String>()).sum()
    }
}

/// Code, whether it is the last line, and the text.
fn dissect(line: &[u8]) -> Result<(u16, bool, &[u8]), Nonsense> {
    let nonsense = Nonsense("not an SMTP reply");
    let (Some(digits), rest) = (line.get(..3), line.get(3..).unwrap_or_default()) else {
        return Err(nonsense);
    };
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(digits[0], b'2'..=b'5') {
        return Err(nonsense);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Ok((code, true, rest)),
        Some((b' ', text)) => Ok((code, true, text)),
        Some((b'-', text)) => Ok((code, false, text)),
        Some(_) => Err(nonsense),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Reply>, Nonsense> {
        let mut replies = Replies::default();
        let (last, first) = lines.split_last().unwrap();
        for line in first {
            assert_eq!(replies.line(line.as_bytes())?, None, "{line}");
        }
        replies.line(last.as_bytes())
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_no_hyphen() {
        let reply = read(&["250-mail.example", "250-SIZE 1000", "250 DSN"]).unwrap().unwrap();
        assert_eq!(reply.code, 250);
        assert_eq!(reply.lines, ["mail.example", "SIZE 1000", "DSN"]);
        assert_eq!(read(&["220"]).unwrap().unwrap().lines, [""]);
        assert_eq!(read(&["334 "]).unwrap().unwrap().lines, [""]);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for line in
            ["", "25", "abc hello", "250_x", "650 x", "150 x", "HTTP/1.1 400", "+OK", "* OK"]
        {
            assert!(read(&[line]).is_err(), "{line}");
        }
        assert!(read(&["250-one", "550 two"]).is_err());
    }

    #[test]
    fn a_reply_without_an_end_is_refused_in_bounded_memory() {
        let mut replies = Replies::default();
        let most = (0..).take_while(|_| replies.line(b"250-x").is_ok()).count();
        assert_eq!(most, LINES);
        let mut replies = Replies::default();
        let line = [b"250-".as_slice(), &[b'y'; 4000]].concat();
        let most = (0..).take_while(|_| replies.line(&line).is_ok()).count();
        assert_eq!(most, 8);
        assert!(replies.held() < BYTES + 1024);
    }

    #[test]
    fn each_blame_has_its_words() {
        let said = |blame| String::from_utf8(denial(blame, "")).unwrap();
        assert!(said(Blame::BadCredential).starts_with("535 5.7.8 "));
        assert!(said(Blame::NeedsConsent).starts_with("535 5.7.8 "));
        assert!(said(Blame::ContactAdmin).starts_with("454 4.7.0 "));
        assert!(said(Blame::ContactAdmin).contains("administrator"));
        assert!(said(Blame::Unavailable).starts_with("454 4.7.0 Temporary"));
        assert!(said(Blame::Limit).starts_with("421 4.7.0 "));
    }

    #[test]
    fn the_page_for_a_consent_stands_in_the_text() {
        let said = denial(Blame::NeedsConsent, "https://broker.example/c/1");
        assert!(said.ends_with(b"again. https://broker.example/c/1\r\n"));
    }

    #[test]
    fn a_text_cannot_add_a_line_or_grow_one_without_bound() {
        let said = denial(Blame::Unavailable, "a\r\n235 2.7.0 OK \u{e4}\0");
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(said.is_ascii());
        assert_eq!(denial(Blame::Limit, &"x".repeat(9000)).len(), 512);
    }
}
