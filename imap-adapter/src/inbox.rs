//! Bytes that came in and are not used yet, cut into lines.
//!
//! Never holds more than it is given room for and never guesses: a line ends with CR LF. Invariant: a line with NUL, a lone
//! CR or a lone LF is told apart from a clean one, so no two readers of it can disagree. Next: `command` reads the lines.

use zeroize::Zeroizing;

/// Longest command line of a client and reply line of a server, in bytes, without CR LF.
pub(crate) const MAX_LINE: usize = 8 * 1024;
/// Most bytes either side may send before the login is over, in bytes.
pub(crate) const MAX_TOTAL: usize = 64 * 1024;

/// What the next line looks like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its end has not come yet.
    Incomplete,
    /// The line without CR LF.
    Clean(Zeroizing<Vec<u8>>),
    /// A line with bytes that cannot be in one; it is gone.
    Dirty,
    /// Longer than allowed, with or without an end.
    TooLong,
}

/// The buffer. Wiped when dropped, since passwords come through it.
pub(crate) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    scanned: usize,
    received: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(1024)), scanned: 0, received: 0 }
    }

    /// Keeps `bytes`; false, and nothing kept, if that is more than [`MAX_TOTAL`] over all times.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        self.received = self.received.saturating_add(bytes.len());
        let fits = self.received <= MAX_TOTAL;
        if fits {
            self.make_room(bytes.len());
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// Grows by moving to a new buffer, so that the old one is wiped, and never beyond [`MAX_TOTAL`].
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let room = (self.bytes.capacity() * 2).min(MAX_TOTAL).max(needed);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    /// Takes the next line of at most `longest` bytes.
    pub(crate) fn line(&mut self, longest: usize) -> Line {
        let found = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n');
        let Some(end) = found.map(|at| at + self.scanned) else {
            self.scanned = self.bytes.len();
            let too_long = self.bytes.len() > longest + 1;
            return if too_long { Line::TooLong } else { Line::Incomplete };
        };
        let mut line = self.take(end + 1);
        line.pop();
        if line.pop() != Some(b'\r') {
            return Line::Dirty;
        }
        match line.len() {
            length if length > longest => Line::TooLong,
            _ if line.iter().any(|byte| matches!(byte, 0 | b'\r')) => Line::Dirty,
            _ => Line::Clean(line),
        }
    }

    /// Takes exactly `count` bytes once they are there.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<Zeroizing<Vec<u8>>> {
        (self.bytes.len() >= count).then(|| self.take(count))
    }

    /// Takes everything.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let count = self.bytes.len();
        std::mem::take(&mut *self.take(count))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Zeroizing<Vec<u8>> {
        let taken = Zeroizing::new(self.bytes[..count].to_vec());
        let left = self.bytes.len() - count;
        self.bytes.copy_within(count.., 0);
        zeroize::Zeroize::zeroize(&mut self.bytes[left..]);
        self.bytes.truncate(left);
        self.scanned = 0;
        taken
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut inbox = Inbox::new();
        assert!(inbox.push(bytes));
        let mut all = vec![];
        loop {
            match inbox.line(16) {
                Line::Incomplete => return all,
                Line::TooLong => return all.into_iter().chain([Line::TooLong]).collect(),
                line => all.push(line),
            }
        }
    }

    fn clean(text: &str) -> Line {
        Line::Clean(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_line_ends_with_cr_lf_and_nothing_else() {
        assert_eq!(lines(b"a\r\n\r\nb"), [clean("a"), clean("")]);
        assert_eq!(lines(b"a\nb\r\n"), [Line::Dirty, clean("b")]);
        assert_eq!(lines(b"a\rb\r\n\0\r\n"), [Line::Dirty, Line::Dirty]);
    }

    #[test]
    fn a_line_is_too_long_before_its_end_is_seen() {
        assert_eq!(lines(&[b'a'; 18]), [Line::TooLong]);
        assert_eq!(lines(b"aaaaaaaaaaaaaaaa\r\n"), [clean("aaaaaaaaaaaaaaaa")]);
        assert_eq!(lines(b"aaaaaaaaaaaaaaaaa\r\n"), [Line::TooLong]);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let mut inbox = Inbox::new();
        assert!(!inbox.push(&vec![b'a'; MAX_TOTAL + 1]));
        assert!(inbox.is_empty());
    }
}
