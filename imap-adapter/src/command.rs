//! The commands that make sense before a login, and no others (RFC 3501 sections 6.1 and 6.2, RFC 2971, RFC 4959).
//!
//! Written by hand rather than with a codec crate: eight commands need no full grammar, the bounds have to hold before
//! anything is parsed, and a secret must not be copied through types that do not wipe it. Never sees more than one line.
//! Invariant: whatever cannot be answered by us is [`Command::Unknown`]. Next: `downstream` answers.

use zeroize::Zeroizing;

use crate::literal::announced;

/// Longest tag, in bytes.
const MAX_TAG: usize = 126;

/// One command line of a client.
#[derive(Debug)]
pub(crate) struct Request {
    /// The client's name for it, sent back with the answer.
    pub(crate) tag: String,
    /// What is wanted.
    pub(crate) command: Command,
}

/// What a client may want before it has logged in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// CAPABILITY.
    Capability,
    /// NOOP.
    Noop,
    /// LOGOUT.
    Logout,
    /// ID with well-formed parameters; what they say is not kept.
    Id,
    /// STARTTLS.
    StartTls,
    /// LOGIN and the rest of its line, the space included.
    Login(Zeroizing<Vec<u8>>),
    /// AUTHENTICATE.
    Authenticate {
        /// Upper case.
        mechanism: String,
        /// The base64 text that came with the command; `=` stands for an empty one.
        initial: Option<Zeroizing<Vec<u8>>>,
    },
    /// Anything else, or one of the above with arguments it cannot have.
    Unknown {
        /// A literal follows at once (`{n+}`); where it ends nobody will tell us.
        literal_follows: bool,
    },
}

/// Reads one line. `None` if not even a tag can be made out.
pub(crate) fn parse(line: &[u8]) -> Option<Request> {
    let (tag, rest) = split(line);
    let tag = tag_text(tag)?;
    let (verb, arguments) = split(rest?);
    let verb = std::str::from_utf8(verb).ok()?.to_ascii_uppercase();
    let command = match (verb.as_str(), arguments) {
        ("CAPABILITY", None) => Command::Capability,
        ("NOOP", None) => Command::Noop,
        ("LOGOUT", None) => Command::Logout,
        ("STARTTLS", None) => Command::StartTls,
        ("ID", Some(arguments)) if is_id(arguments) => Command::Id,
        ("LOGIN", Some(_)) => {
            Command::Login(Zeroizing::new(line[tag.len() + 1 + verb.len()..].to_vec()))
        }
        ("AUTHENTICATE", Some(arguments)) => authenticate(arguments),
        _ => unknown(line),
    };
    Some(Request { tag, command })
}

fn authenticate(arguments: &[u8]) -> Command {
    let (mechanism, initial) = split(arguments);
    match std::str::from_utf8(mechanism) {
        Ok(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Command::Authenticate {
                mechanism: name.to_ascii_uppercase(),
                initial: initial.map(|text| Zeroizing::new(text.to_vec())),
            }
        }
        _ => unknown(arguments),
    }
}

fn unknown(line: &[u8]) -> Command {
    let last = line.iter().rposition(|byte| *byte == b'{').map_or(&[][..], |at| &line[at..]);
    let literal_follows = announced(last).is_some_and(|literal| !literal.waits);
    Command::Unknown { literal_follows }
}

/// A tag is any graphic ASCII without the characters that begin something else (RFC 3501 section 9).
fn tag_text(tag: &[u8]) -> Option<String> {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    let well = (1..=MAX_TAG).contains(&tag.len()) && tag.iter().all(fits);
    well.then(|| String::from_utf8_lossy(tag).into_owned())
}

/// `NIL`, or a list of strings and NILs in parentheses (RFC 2971). Literals are not taken: no client sends them.
fn is_id(arguments: &[u8]) -> bool {
    if arguments.eq_ignore_ascii_case(b"NIL") {
        return true;
    }
    let Some(mut list) = arguments.strip_prefix(b"(").and_then(|inside| inside.strip_suffix(b")"))
    else {
        return false;
    };
    while let Some(after) = string_or_nil(list) {
        match after.strip_prefix(b" ") {
            Some(next) => list = next,
            None => return after.is_empty(),
        }
    }
    list.is_empty()
}

/// What follows a quoted string or NIL at the beginning of `list`.
fn string_or_nil(list: &[u8]) -> Option<&[u8]> {
    if list.len() >= 3 && list[..3].eq_ignore_ascii_case(b"NIL") {
        return Some(&list[3..]);
    }
    let inside = list.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (at, byte) in inside.iter().enumerate() {
        match byte {
            b'"' if !escaped => return Some(&inside[at + 1..]),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// The first word, and what follows its space if there is one.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(line: &str) -> Command {
        parse(line.as_bytes()).unwrap().command
    }

    #[test]
    fn verbs_are_read_in_any_case() {
        assert_eq!(command("a1 capability"), Command::Capability);
        assert_eq!(command("a1 NoOp"), Command::Noop);
        assert_eq!(command("a1 LOGOUT"), Command::Logout);
        assert_eq!(command("a1 StartTLS"), Command::StartTls);
    }

    #[test]
    fn the_rest_of_a_login_keeps_its_space() {
        let Command::Login(rest) = command("a1 login ann pw") else { panic!() };
        assert_eq!(rest.as_slice(), b" ann pw");
    }

    #[test]
    fn authenticate_is_read_with_and_without_an_initial_response() {
        let wanted = |initial: Option<&str>| Command::Authenticate {
            mechanism: "PLAIN".to_owned(),
            initial: initial.map(|text| Zeroizing::new(text.as_bytes().to_vec())),
        };
        assert_eq!(command("a AUTHENTICATE plain"), wanted(None));
        assert_eq!(command("a AUTHENTICATE PLAIN AGEAYg=="), wanted(Some("AGEAYg==")));
        assert_eq!(command("a AUTHENTICATE PLAIN ="), wanted(Some("=")));
    }

    #[test]
    fn id_needs_a_list_or_nil() {
        for good in ["NIL", "()", "(\"name\" \"x\")", "(\"a\\\"(b\" NIL \"c\" \"d\")"] {
            assert_eq!(command(&format!("a ID {good}")), Command::Id, "{good}");
        }
        for bad in ["", "(", "(name x)", "(\"a\"\"b\")", "(\"a)", "{3}"] {
            assert_ne!(command(&format!("a ID {bad}")), Command::Id, "{bad}");
        }
    }

    #[test]
    fn a_line_without_a_tag_is_nothing() {
        for line in ["", " ", "a", "* OK", "+ x", "a(b NOOP", "\u{e9} NOOP"] {
            assert!(parse(line.as_bytes()).is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_literal_that_does_not_wait_is_noticed_on_any_command() {
        assert_eq!(command("a APPEND x {9+}"), Command::Unknown { literal_follows: true });
        assert_eq!(command("a APPEND x {9}"), Command::Unknown { literal_follows: false });
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&line);
        }
    }
}
