//! The two arguments of LOGIN: atoms, quoted strings and literals (RFC 3501 section 4, RFC 7888).
//!
//! Never waits and never answers: it says that a literal is due and `downstream` reads it. Invariant: at most two
//! values, each of at most [`MAX_LITERAL`] bytes or one line. Next: `adapter_core::sasl` checks what they hold.

use zeroize::Zeroizing;

/// Longest literal, in bytes. Names and credentials are much shorter; LITERAL- would allow 4096.
pub(crate) const MAX_LITERAL: usize = 1024;

/// The arguments read so far.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: Vec<Zeroizing<Vec<u8>>>,
}

/// How far the arguments are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Both are there: name, then secret.
    Complete,
    /// The line ended in `{n}` or `{n+}`.
    Literal(Announced),
    /// They are none.
    Malformed(&'static str),
}

/// A literal that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Its bytes.
    pub(crate) length: usize,
    /// Whether the client waits to be asked for it (`{n}`) or sends it at once (`{n+}`).
    pub(crate) waits: bool,
}

impl Arguments {
    /// Reads a piece of the command line: what follows `LOGIN`, or what follows a literal.
    pub(crate) fn text(&mut self, mut text: &[u8]) -> Progress {
        while !text.is_empty() {
            let Some(argument) = text.strip_prefix(b" ").filter(|_| self.values.len() < 2) else {
                return Progress::Malformed("LOGIN takes a name and a password");
            };
            let read = match argument.first() {
                Some(b'"') => quoted(&argument[1..]),
                Some(b'{') => match announced(argument) {
                    Some(literal) => return Progress::Literal(literal),
                    None => None,
                },
                _ => atom(argument),
            };
            let Some((value, rest)) = read else {
                return Progress::Malformed("Not an atom, a quoted string or a literal");
            };
            self.values.push(value);
            text = rest;
        }
        match self.values.len() {
            2 => Progress::Complete,
            _ => Progress::Malformed("LOGIN takes a name and a password"),
        }
    }

    /// Takes a literal that was announced.
    pub(crate) fn literal(&mut self, bytes: Zeroizing<Vec<u8>>) {
        self.values.push(bytes);
    }

    /// Name and secret; empty where missing.
    pub(crate) fn name_and_secret(&self) -> (&[u8], &[u8]) {
        let value = |at: usize| self.values.get(at).map_or(&[][..], |value| value.as_slice());
        (value(0), value(1))
    }
}

/// Reads `{n}` or `{n+}` at the end of a line.
pub(crate) fn announced(text: &[u8]) -> Option<Announced> {
    let inside = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let (digits, waits) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inside, true),
    };
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    // More digits than a number can hold is still a literal: an enormous one.
    let length = std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX);
    plain.then_some(Announced { length, waits })
}

type Read<'a> = Option<(Zeroizing<Vec<u8>>, &'a [u8])>;

/// Reads up to the closing quote; `text` begins after the opening one.
fn quoted(text: &[u8]) -> Read<'_> {
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &text[at + 1..])),
            b'\\' => match bytes.next() {
                Some((_, escaped @ (b'"' | b'\\'))) => value.push(*escaped),
                _ => return None,
            },
            byte => value.push(*byte),
        }
    }
    None
}

/// Reads up to the next space. More lenient than the grammar with `%`, `*` and `\`, which real clients leave unquoted.
fn atom(text: &[u8]) -> Read<'_> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    let fits = !value.is_empty() && !value.iter().any(|byte| b"(){\"".contains(byte));
    fits.then(|| (Zeroizing::new(value.to_vec()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Progress, String, String) {
        let mut arguments = Arguments::default();
        let progress = arguments.text(text.as_bytes());
        let (name, secret) = arguments.name_and_secret();
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (progress, string(name), string(secret))
    }

    #[test]
    fn atoms_and_quoted_strings_mix() {
        let both = |name: &str, secret: &str| (Progress::Complete, name.into(), secret.into());
        assert_eq!(read(" ann@example.com tb_x"), both("ann@example.com", "tb_x"));
        assert_eq!(read(" \"ann b\" \"a\\\"\\\\c\""), both("ann b", "a\"\\c"));
        assert_eq!(read(" ann \"\""), both("ann", ""));
    }

    #[test]
    fn what_is_no_argument_is_refused() {
        for text in
            ["", " a", " a b c", "  a b", " a b ", " \"a b", " \"a\"b c", " \"\\x\" b", " a (b)"]
        {
            assert!(matches!(read(text).0, Progress::Malformed(_)), "{text:?}");
        }
    }

    #[test]
    fn literals_are_announced_with_and_without_waiting() {
        assert_eq!(read(" {5}").0, Progress::Literal(Announced { length: 5, waits: true }));
        assert_eq!(read(" a {7+}").0, Progress::Literal(Announced { length: 7, waits: false }));
        let huge = Announced { length: usize::MAX, waits: true };
        assert_eq!(read(" {99999999999999999999999}").0, Progress::Literal(huge));
        assert!(matches!(read(" {}").0, Progress::Malformed(_)));
        assert!(matches!(read(" {-1}").0, Progress::Malformed(_)));
        assert!(matches!(read(" {1} b").0, Progress::Malformed(_)));
    }
}
