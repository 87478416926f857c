//! Every line this adapter says to a client, in one place.
//!
//! Never repeats what a client or a provider said, except the client's tag. Invariant: each blame has exactly one response
//! code (RFC 3501 section 7.1, RFC 5530), so a broken broker is never told as a wrong password. Next: `downstream`.

use adapter_core::dialogue::{Blame, ClientFacts, Farewell, Ready};

use crate::capability;

/// The first line of a connection.
pub(crate) fn greeting(facts: &ClientFacts) -> Vec<u8> {
    line(&format!(
        "* OK [CAPABILITY {}] {} ready",
        capability::before_login(facts),
        printable(&facts.server_name)
    ))
}

/// The answer to CAPABILITY before login.
pub(crate) fn capabilities(tag: &str, facts: &ClientFacts) -> Vec<u8> {
    let list = capability::before_login(facts);
    [line(&format!("* CAPABILITY {list}")), ok(tag, "That is all before login")].concat()
}

/// The answer to ID (RFC 2971).
pub(crate) fn id(tag: &str) -> Vec<u8> {
    [line("* ID (\"name\" \"Token Broker\")"), ok(tag, "Pleased to meet you")].concat()
}

/// The answer to LOGOUT.
pub(crate) fn logout(tag: &str) -> Vec<u8> {
    [bye("Good-bye"), ok(tag, "Logged out")].concat()
}

/// A command that worked.
pub(crate) fn ok(tag: &str, text: &str) -> Vec<u8> {
    line(&format!("{tag} OK {text}"))
}

/// A command that cannot be understood, or not here.
pub(crate) fn bad(tag: Option<&str>, text: &str) -> Vec<u8> {
    line(&format!("{} BAD {text}", tag.unwrap_or("*")))
}

/// A password that must not come without TLS.
pub(crate) fn privacy_required(tag: &str) -> Vec<u8> {
    line(&format!("{tag} NO [PRIVACYREQUIRED] Passwords are taken over TLS only"))
}

/// A mechanism we do not have.
pub(crate) fn no_such_mechanism(tag: &str) -> Vec<u8> {
    line(&format!("{tag} NO Use PLAIN or the command LOGIN"))
}

/// Asks for a literal.
pub(crate) fn send_literal() -> Vec<u8> {
    line("+ Send it")
}

/// Asks for a SASL response: an empty challenge.
pub(crate) fn send_response() -> Vec<u8> {
    line("+ ")
}

/// The last line of a connection.
pub(crate) fn bye(text: &str) -> Vec<u8> {
    line(&format!("* BYE {text}"))
}

/// The last line of a connection that we end without a fault of the client's words.
pub(crate) fn farewell(why: Farewell) -> Vec<u8> {
    bye(match why {
        Farewell::TooSlow => "Too slow to log in",
        Farewell::Stopping => "Going down, please connect again",
        Farewell::Revoked => "Access to this mailbox was withdrawn",
        Farewell::NeedsConsent => "The owner of this mailbox has to consent again",
        Farewell::ContactAdmin => "Access was closed, please ask your administrator",
        Farewell::Operator => "Closed by an administrator, please connect again",
        Farewell::CutOff => "Temporarily unavailable, please connect again",
    })
}

/// A login that worked. The provider's capabilities go where this client reads them: a client that asked before login reads
/// the untagged list, one that did not has to be told with the answer.
pub(crate) fn accepted(tag: &str, asked_before: bool, ready: &Ready) -> Vec<u8> {
    let list = capability::after_login(&ready.capabilities);
    let mut say = match (list.as_str(), asked_before) {
        ("", _) => ok(tag, "Logged in"),
        (list, false) => ok(tag, &format!("[CAPABILITY {list}] Logged in")),
        (list, true) => [line(&format!("* CAPABILITY {list}")), ok(tag, "Logged in")].concat(),
    };
    say.extend_from_slice(&ready.unread);
    say
}

/// A login that did not. `text` is the broker's and may be empty.
pub(crate) fn denied(tag: &str, blame: Blame, text: &str) -> Vec<u8> {
    let (code, usual) = match blame {
        Blame::BadCredential => ("AUTHENTICATIONFAILED", "Login name or password is wrong"),
        Blame::NeedsConsent => {
            ("AUTHENTICATIONFAILED", "The owner of this mailbox has to give consent again")
        }
        Blame::ContactAdmin => ("CONTACTADMIN", "This server needs its administrator"),
        Blame::Unavailable => ("UNAVAILABLE", "Not possible right now, please try again later"),
        Blame::Limit => ("LIMIT", "Too many logins or sessions, please try again later"),
    };
    let given = printable(text);
    let text = if given.is_empty() { usual } else { &given };
    line(&format!("{tag} NO [{code}] {text}"))
}

/// At most 200 printable ASCII characters of it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(200).collect()
}

fn line(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blame_has_its_code() {
        let said = |blame| String::from_utf8(denied("a", blame, "")).unwrap();
        assert!(said(Blame::BadCredential).starts_with("a NO [AUTHENTICATIONFAILED] "));
        assert!(said(Blame::NeedsConsent).starts_with("a NO [AUTHENTICATIONFAILED] "));
        assert!(said(Blame::ContactAdmin).starts_with("a NO [CONTACTADMIN] "));
        assert!(said(Blame::Unavailable).starts_with("a NO [UNAVAILABLE] "));
        assert!(said(Blame::Limit).starts_with("a NO [LIMIT] "));
    }

    #[test]
    fn a_text_cannot_add_a_line() {
        assert_eq!(
            denied("a", Blame::NeedsConsent, "open\r\na OK https://x/"),
            b"a NO [AUTHENTICATIONFAILED] opena OK https://x/\r\n"
        );
    }

    #[test]
    fn capabilities_follow_the_habits_of_the_client() {
        let ready =
            Ready { capabilities: "IMAP4rev1 IDLE".to_owned(), unread: b"* x\r\n".to_vec() };
        assert_eq!(
            accepted("a", false, &ready),
            b"a OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n* x\r\n"
        );
        assert_eq!(
            accepted("a", true, &ready),
            b"* CAPABILITY IMAP4rev1 IDLE\r\na OK Logged in\r\n* x\r\n"
        );
        assert_eq!(accepted("a", true, &Ready::default()), b"a OK Logged in\r\n");
    }
}
