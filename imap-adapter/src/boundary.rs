//! Where a relayed IMAP client may be told `* BYE`: at the beginning of a line that no literal is in the way of.
//!
//! Never understands a response, it only finds where one ends (RFC 9051 section 2.2.2). Invariant: what cannot be told for
//! certain ends all knowledge for good: a compressed stream (RFC 4978), a line without CR, and a human-readable text that looks
//! as if a literal followed it. Next: `adapter_core::relay` asks when a session has to end.

use adapter_core::boundary::Boundaries;

/// How much of a line's beginning is kept: a tag and the word behind it.
const HEAD: usize = 64;
/// How much of its end: `{18446744073709551615+}` and CR.
const TAIL: usize = 24;
/// A client that says this may be about to compress; whoever else says it loses a good-bye.
const COMPRESS: &[u8] = b"COMPRESS";

/// Follows a relayed conversation.
#[derive(Debug, Default)]
pub(crate) struct ImapBoundaries {
    place: Place,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// How much of [`COMPRESS`] the client's last bytes were.
    compress: usize,
}

/// Where in the server's responses we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a line.
    #[default]
    Start,
    /// In a line.
    Line,
    /// In a literal with so many bytes to come; its line goes on behind it.
    Literal(u64),
    /// Nowhere that we know of.
    Lost,
}

impl Boundaries for ImapBoundaries {
    fn to_server(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().map(u8::to_ascii_uppercase) {
            // Its first letter is not in it again, so there is nothing to fall back to but the beginning.
            self.compress = match byte {
                byte if byte == COMPRESS[self.compress] => self.compress + 1,
                byte => usize::from(byte == COMPRESS[0]),
            };
            if self.compress == COMPRESS.len() {
                self.compress = 0;
                self.place = Place::Lost;
            }
        }
    }

    fn to_client(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Lost => return,
                Place::Literal(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::Line } else { Place::Literal(left) };
                    &bytes[here..]
                }
                Place::Start | Place::Line => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.keep(line);
                    match end {
                        Some(_) => {
                            self.place = self.behind_line();
                            &rest[1..]
                        }
                        None => rest,
                    }
                }
            };
        }
    }

    fn is_free(&self) -> bool {
        self.place == Place::Start
    }
}

impl ImapBoundaries {
    fn keep(&mut self, line: &[u8]) {
        self.place = Place::Line;
        let room = HEAD - self.head.len();
        self.head.extend(line.iter().take(room));
        self.tail.extend(&line[line.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// What follows the line whose LF just came.
    fn behind_line(&mut self) -> Place {
        let follows = announced(&self.tail);
        self.tail.clear();
        match follows {
            Announced::Broken => Place::Lost,
            Announced::Nothing => {
                self.head.clear();
                Place::Start
            }
            Announced::Literal(_) if is_text(&self.head) => Place::Lost,
            Announced::Literal(0) => Place::Line,
            Announced::Literal(length) => Place::Literal(length),
        }
    }
}

/// What the end of a line says of what comes behind it.
#[derive(Debug, PartialEq, Eq)]
enum Announced {
    Nothing,
    Literal(u64),
    /// It is no end of a line, or a length that no number holds.
    Broken,
}

fn announced(tail: &[u8]) -> Announced {
    let Some(line) = tail.strip_suffix(b"\r") else { return Announced::Broken };
    let Some(inside) = line.strip_suffix(b"}") else { return Announced::Nothing };
    let digits = inside.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = inside.split_at(inside.len() - digits);
    if number.is_empty() {
        // `{5+}` is a client's word. Whatever a server means by it, we do not know.
        return if inside.ends_with(b"+") { Announced::Broken } else { Announced::Nothing };
    }
    match before.last() {
        Some(b'{') => {
            let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
            number.map_or(Announced::Broken, Announced::Literal)
        }
        Some(_) => Announced::Nothing,
        // So long a number that its beginning is not kept.
        None => Announced::Broken,
    }
}

/// Whether a line ends in words for people, which may look like anything: a status response (RFC 9051 section 7.1) or a
/// continuation. In doubt it does.
fn is_text(head: &[u8]) -> bool {
    let mut words = head.split(|byte| *byte == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let Some(second) = second.filter(|_| words.next().is_some() || head.len() < HEAD) else {
        return true;
    };
    let status: [&[u8]; 5] = [b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"];
    first == b"+" || status.iter().any(|word| second.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(bytes: &[u8]) -> bool {
        let mut line = ImapBoundaries::default();
        line.to_client(bytes);
        line.is_free()
    }

    #[test]
    fn a_bye_fits_behind_whole_responses_only() {
        for whole in [
            "",
            "a OK done\r\n",
            "* 1 FETCH (FLAGS ())\r\n",
            "+ idling\r\n",
            "* 1 FETCH (BODY[] {3}\r\nabc)\r\n",
            "* 1 FETCH (BODY[] {3}\r\n\r\n\n)\r\n",
            "* 1 FETCH (BODY[] {0}\r\n)\r\n",
            "* LIST () \"/\" {5}\r\nINBOX\r\n",
            "* 1 FETCH (A {1}\r\nx B ~{2}\r\n\0\n)\r\n* 2 EXISTS\r\n",
            "* 3 FETCH (ENVELOPE \"{5\" \"5}\")\r\n",
            "a OK {x}\r\n",
        ] {
            assert!(after(whole.as_bytes()), "{whole:?}");
            let all_but_one = whole.len().saturating_sub(1);
            assert!(all_but_one == 0 || !after(&whole.as_bytes()[..all_but_one]), "{whole:?}");
        }
    }

    #[test]
    fn a_literal_that_looks_like_responses_is_none_the_less_one() {
        let head = "* 1 FETCH (BODY[] {24}\r\n";
        let inside = "a OK done\r\n* 2 EXISTS\r\n\r\n";
        for length in 0..inside.len() {
            assert!(!after(format!("{head}{}", &inside[..length]).as_bytes()), "{length}");
        }
    }

    #[test]
    fn whatever_cannot_be_told_for_certain_is_never_free_again() {
        for doubt in [
            "* OK you have {5}\r\n",
            "a NO {5}\r\n",
            "+ {5}\r\n",
            "* OK a line of another kind\n",
            "* 1 FETCH (BODY[] {5+}\r\n",
            "* 1 FETCH (BODY[] {99999999999999999999}\r\n",
            "* 1 FETCH (BODY[] {999999999999999999999999999999}\r\n",
        ] {
            assert!(!after(format!("{doubt}12345\r\na OK done\r\n").as_bytes()), "{doubt:?}");
        }
        let long = format!("{} OK text {{3}}\r\nabc\r\n", "t".repeat(80));
        assert!(!after(long.as_bytes()), "a tag that hides what the line is");
    }

    #[test]
    fn a_client_that_may_compress_is_told_nothing() {
        for (said, free) in [
            (&["a COMPRESS DEFLATE\r\n"][..], false),
            (&["a com", "press deflate\r\n"], false),
            (&["a cocompress x"], false),
            (&["a COMPRES ", "S\r\n"], true),
        ] {
            let mut line = ImapBoundaries::default();
            said.iter().for_each(|part| line.to_server(part.as_bytes()));
            line.to_client(b"a OK\r\n");
            assert_eq!(line.is_free(), free, "{said:?}");
        }
    }

    /// A response, and where in it a literal begins and ends.
    fn response() -> impl Strategy<Value = Vec<u8>> {
        let text = "[ -z|~]{0,20}";
        let literal = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            text.prop_map(|text| format!("a1 OK {text}\r\n").into_bytes()),
            text.prop_map(|text| format!("* 7 FETCH (X {text})\r\n").into_bytes()),
            proptest::collection::vec(literal, 1..4).prop_map(|literals| {
                let mut whole = b"* 9 FETCH (".to_vec();
                for literal in literals {
                    whole.extend(format!("BODY[] {{{}}}\r\n", literal.len()).bytes());
                    whole.extend(literal);
                    whole.push(b' ');
                }
                whole.extend(b")\r\n");
                whole
            }),
        ]
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_split_it_is_free_between_responses_and_nowhere_else(
            responses in proptest::collection::vec(response(), 0..8),
            splits in proptest::collection::vec(1usize..30, 1..60),
        ) {
            let stream = responses.concat();
            let mut ends = vec![0];
            for response in &responses {
                ends.push(ends.last().unwrap() + response.len());
            }
            let mut line = ImapBoundaries::default();
            let (mut at, mut splits) = (0, splits.iter().cycle());
            while at < stream.len() {
                let next = (at + splits.next().unwrap()).min(stream.len());
                line.to_client(&stream[at..next]);
                at = next;
                prop_assert_eq!(line.is_free(), ends.contains(&at), "at {} of {:?}", at, ends);
            }
        }

        #[test]
        fn nothing_a_server_sends_makes_it_panic_or_grow(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let mut line = ImapBoundaries::default();
            for piece in pieces {
                line.to_client(&piece);
                line.to_server(&piece);
                prop_assert!(line.head.len() <= HEAD && line.tail.len() <= TAIL);
            }
        }
    }
}
