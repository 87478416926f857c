//! Where a relayed SMTP client may be told `421`: behind a whole reply.
//!
//! Never looks at what the client sends: a 421 may come at any time (RFC 5321 section 3.8), and in place of the answer to a
//! mail it says that the mail was not taken, so the client sends it again. Invariant: what is no reply (RFC 5321 section 4.2)
//! ends all knowledge for good. Next: `adapter_core::relay` asks when a session has to end.

use adapter_core::boundary::Boundaries;

/// Code and hyphen.
const HEAD: usize = 4;

/// Follows a relayed conversation.
#[derive(Debug, Default)]
pub(crate) struct SmtpBoundaries {
    /// The beginning of the line we are in.
    head: Vec<u8>,
    /// Whether the last line says that more of its reply follows.
    more: bool,
    /// The last byte was a CR.
    cr: bool,
    lost: bool,
}

impl Boundaries for SmtpBoundaries {
    fn to_server(&mut self, _: &[u8]) {}

    fn to_client(&mut self, bytes: &[u8]) {
        if self.lost {
            return;
        }
        for byte in bytes {
            match byte {
                b'\n' if self.cr => self.end_line(),
                b'\n' => self.lost = true,
                _ if self.head.len() < HEAD => self.head.push(*byte),
                _ => {}
            }
            self.cr = *byte == b'\r';
        }
    }

    fn is_free(&self) -> bool {
        !self.lost && !self.more && self.head.is_empty()
    }
}

impl SmtpBoundaries {
    fn end_line(&mut self) {
        let code = self.head.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
        self.more = match self.head.get(3) {
            Some(b'-') => true,
            Some(b' ' | b'\r') => false,
            _ => {
                self.lost = true;
                false
            }
        };
        self.lost |= !code;
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(bytes: &[u8]) -> bool {
        let mut line = SmtpBoundaries::default();
        line.to_client(bytes);
        line.is_free()
    }

    #[test]
    fn a_421_fits_behind_whole_replies_only() {
        for whole in ["", "250 OK\r\n", "354\r\n", "250-a\r\n250-b\r\n250 c\r\n"] {
            assert!(after(whole.as_bytes()), "{whole:?}");
        }
        for part in ["2", "250 OK", "250 OK\r", "250-a\r\n", "250-a\r\n25"] {
            assert!(!after(part.as_bytes()), "{part:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_never_free_again() {
        for doubt in ["hello\r\n", "250 OK\n", "25\r\n", "250_x\r\n", "\r\n"] {
            assert!(!after(format!("{doubt}250 OK\r\n").as_bytes()), "{doubt:?}");
        }
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_split_it_is_free_between_replies_and_nowhere_else(
            replies in proptest::collection::vec(proptest::collection::vec("[ -~]{0,30}", 1..4), 0..8),
            splits in proptest::collection::vec(1usize..30, 1..60),
        ) {
            let (mut stream, mut ends) = (vec![], vec![0]);
            for lines in replies {
                let last = lines.len() - 1;
                for (at, text) in lines.iter().enumerate() {
                    let hyphen = if at == last { ' ' } else { '-' };
                    stream.extend(format!("250{hyphen}{text}\r\n").bytes());
                }
                ends.push(stream.len());
            }
            let mut line = SmtpBoundaries::default();
            let (mut at, mut splits) = (0, splits.iter().cycle());
            while at < stream.len() {
                let next = (at + splits.next().unwrap()).min(stream.len());
                line.to_client(&stream[at..next]);
                at = next;
                prop_assert_eq!(line.is_free(), ends.contains(&at), "at {} of {:?}", at, ends);
            }
        }
    }
}
