//! Cuts bytes into CRLF lines, in bounded memory.
//!
//! Never mends a line: a bare LF, a bare CR or a NUL makes it [`Line::Dirty`], because two servers that read such a line
//! differently can be played against each other. Invariant: at most [`LONGEST`] + 2 bytes are held, whatever comes.
//! Next: `downstream` and `upstream` say what the lines mean.

use zeroize::Zeroizing;

/// The longest line anybody may ask for, in bytes without its CRLF: `AUTH PLAIN ` and a SASL response of 12288 bytes
/// (RFC 4954 section 4).
pub(crate) const LONGEST: usize = 12_288 + 64;

/// How much of a line that is too long is kept, enough to see which command it was.
const KEPT: usize = 16;

/// One line, without its CRLF. Wiped when dropped: it may be a password.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq))]
pub(crate) enum Line {
    /// A clean line.
    Whole(Zeroizing<Vec<u8>>),
    /// A line over its limit; only its first bytes are left, the rest was skipped.
    TooLong(Zeroizing<Vec<u8>>),
    /// A line with a NUL or a bare CR in it, or ended by a bare LF.
    Dirty,
}

/// The part of a line that has come so far.
#[derive(Default)]
pub(crate) struct Lines {
    held: Zeroizing<Vec<u8>>,
    over: bool,
}

impl Lines {
    /// Takes the next line off `input`, together with what was held. `None`: all of `input` is taken, the line is not
    /// complete. `limit` is asked with the start of the line, since commands differ in what they may be long.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        limit: impl Fn(&[u8]) -> usize,
    ) -> Option<Line> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        *input = rest;
        self.hold(piece, limit);
        end.map(|_| self.finish())
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }

    fn hold(&mut self, piece: &[u8], limit: impl Fn(&[u8]) -> usize) {
        if self.over {
            return;
        }
        let room = LONGEST + 2 - self.held.len();
        let taken = piece.len().min(room);
        self.grow(&piece[..taken]);
        let ended = self.held.ends_with(b"\r\n");
        let longest = limit(&self.held).min(LONGEST) + if ended { 2 } else { 1 };
        if taken < piece.len() || self.held.len() > longest {
            self.over = true;
            self.replace(KEPT, |held| held.truncate(KEPT));
        }
    }

    /// Appends without leaving a copy of a secret behind, as a growing `Vec` would.
    fn grow(&mut self, piece: &[u8]) {
        let needed = self.held.len() + piece.len();
        if needed > self.held.capacity() {
            self.replace(needed.next_power_of_two().min(LONGEST + 2), |_| {});
        }
        self.held.extend_from_slice(piece);
    }

    fn replace(&mut self, capacity: usize, change: impl Fn(&mut Vec<u8>)) {
        let mut old = std::mem::take(&mut self.held);
        change(&mut old);
        let mut new = Zeroizing::new(Vec::with_capacity(capacity));
        new.extend_from_slice(&old);
        self.held = new;
    }

    fn finish(&mut self) -> Line {
        let mut line = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.over) {
            return Line::TooLong(line);
        }
        if !line.ends_with(b"\r\n") {
            return Line::Dirty;
        }
        let length = line.len() - 2;
        line.truncate(length);
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            Line::Dirty
        } else {
            Line::Whole(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(mut input: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::default();
        std::iter::from_fn(|| lines.next(&mut input, |_| limit)).collect()
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_line_ends_at_crlf_and_nowhere_else() {
        assert_eq!(cut(b"EHLO a\r\nQUIT\r\nNO", 80), [whole("EHLO a"), whole("QUIT")]);
        for dirty in [&b"QUIT\n"[..], b"QU\rIT\r\n", b"QU\0IT\r\n", b"\n", b"QUIT\r\r\n"] {
            assert_eq!(cut(dirty, 80), [Line::Dirty], "{dirty:?}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_its_limit_and_not_a_byte_longer() {
        assert_eq!(cut(b"12345678\r\n", 8), [whole("12345678")]);
        assert!(matches!(cut(b"123456789\r\n", 8)[..], [Line::TooLong(_)]));
        assert!(matches!(cut(b"123456789\n", 8)[..], [Line::TooLong(_)]));
    }

    #[test]
    fn a_line_over_its_limit_is_skipped_and_the_next_one_is_read() {
        let mut input = vec![b'x'; 1 << 20];
        input.extend_from_slice(b"\r\nQUIT\r\n");
        let lines = cut(&input, LONGEST);
        assert!(matches!(&lines[0], Line::TooLong(start) if start.len() == KEPT));
        assert_eq!(lines[1], whole("QUIT"));
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert_eq!(lines.next(&mut &[b'x'; 999][..], |_| LONGEST), None);
            assert!(lines.held() <= LONGEST + 2);
        }
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_split() {
        let input = b"A\r\nBB\nC\r\r\n0123456789\r\nD\r\n\r\n";
        let at_once = cut(input, 8);
        for at in 0..=input.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for mut part in [&input[..at], &input[at..]] {
                while let Some(line) = lines.next(&mut part, |_| 8) {
                    found.push(line);
                }
            }
            let kinds = |lines: &[Line]| {
                let kind = |line: &Line| match line {
                    Line::TooLong(_) => None,
                    other => Some(other.clone()),
                };
                lines.iter().map(kind).collect::<Vec<_>>()
            };
            assert_eq!(kinds(&found), kinds(&at_once), "split at {at}");
        }
    }
}
