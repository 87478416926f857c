//! Takes a command apart: tag, name, arguments; and what sets of numbers mean.
//!
//! Pure. Lists nest at most 16 deep. An atom keeps what stands in its square brackets, so `BODY[HEADER.FIELDS (TO)]<0.9>`
//! is one word. Next: the commands in [`super::folders`] and [`super::messages`].

const DEPTH_MAX: usize = 16;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) tag: String,
    /// In upper case.
    pub(super) name: String,
    pub(super) args: Vec<Arg>,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    Atom(String),
    Text(Vec<u8>),
    List(Vec<Arg>),
}

impl Command {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = Words { text, at: 0 };
        let (Arg::Atom(tag), Arg::Atom(name)) = (words.word(0)?, words.word(0)?) else {
            return None;
        };
        let mut args = Vec::new();
        while words.skip_spaces() {
            args.push(words.word(0)?);
        }
        Some(Self { tag, name: name.to_ascii_uppercase(), args })
    }

    /// The command within `UID ...`, under the same tag.
    pub(super) fn shifted(&self) -> Option<Self> {
        let (first, args) = self.args.split_first()?;
        Some(Self {
            tag: self.tag.clone(),
            name: first.text()?.to_ascii_uppercase(),
            args: args.to_vec(),
        })
    }

    /// The argument at `at` as text.
    pub(super) fn text(&self, at: usize) -> Option<String> {
        self.args.get(at)?.text()
    }
}

impl Arg {
    /// An atom or string as text.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Atom(atom) => Some(atom.clone()),
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::List(_) => None,
        }
    }

    /// The words of a list, or the one word that stands in its place.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Self::List(items) => items.iter().filter_map(Self::text).collect(),
            single => single.text().into_iter().collect(),
        }
    }
}

struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl Words<'_> {
    fn skip_spaces(&mut self) -> bool {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        self.peek().is_some()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn word(&mut self, depth: usize) -> Option<Arg> {
        self.skip_spaces();
        match self.peek()? {
            b'(' => self.list(depth),
            b'"' => self.quoted(),
            b'{' => self.literal(),
            b')' => None,
            _ => self.atom(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Arg> {
        if depth == DEPTH_MAX {
            return None;
        }
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_spaces();
            if self.peek()? == b')' {
                self.at += 1;
                return Some(Arg::List(items));
            }
            items.push(self.word(depth + 1)?);
        }
    }

    fn quoted(&mut self) -> Option<Arg> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(Arg::Text(bytes)),
                b'\\' => {
                    bytes.push(self.peek()?);
                    self.at += 1;
                }
                other => bytes.push(other),
            }
        }
    }

    fn literal(&mut self) -> Option<Arg> {
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().position(|&byte| byte == b'}')?;
        let number = std::str::from_utf8(&rest[..end]).ok()?;
        let count: usize = number.trim_end_matches('+').parse().ok()?;
        let start = self.at + 1 + end + 1 + 2;
        let bytes = self.text.get(start..start.checked_add(count)?)?.to_vec();
        self.at = start + count;
        Some(Arg::Text(bytes))
    }

    fn atom(&mut self) -> Option<Arg> {
        let start = self.at;
        let mut brackets = 0_i32;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets -= 1,
                b' ' | b'(' | b')' if brackets <= 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        String::from_utf8(self.text[start..self.at].to_vec()).ok().map(Arg::Atom)
    }
}

/// Whether `number` is in a set such as `1:3,7,9:*`; `*` stands for `last`.
pub(super) fn in_set(set: &str, number: u32, last: u32) -> bool {
    let value = |text: &str| if text == "*" { Some(last) } else { text.parse().ok() };
    set.split(',').any(|part| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (Some(from), Some(to)) = (value(from), value(to)) else { return false };
        (from.min(to)..=from.max(to)).contains(&number)
    })
}

/// Whether a word is a set at all.
pub(super) fn is_set(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit() || c == '*')
        && word.chars().all(|c| c.is_ascii_digit() || ":,*".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_apart() {
        let text =
            b"a1 fetch 1:2 (FLAGS BODY.PEEK[HEADER.FIELDS (TO CC)]<0.9>) \"q\\\"x\" {3}\r\na)b";
        let command = Command::parse(text).unwrap();
        assert_eq!(command.name, "FETCH");
        assert_eq!(command.args[1].words(), ["FLAGS", "BODY.PEEK[HEADER.FIELDS (TO CC)]<0.9>"]);
        assert_eq!(command.args[2..], [Arg::Text(b"q\"x".to_vec()), Arg::Text(b"a)b".to_vec())]);
    }

    #[test]
    fn deep_lists_and_half_commands_are_refused() {
        assert_eq!(Command::parse(format!("a1 X {}", "(".repeat(100_000)).as_bytes()), None);
        assert_eq!(Command::parse(b"a1"), None);
        assert_eq!(Command::parse(b"a1 X \"open"), None);
    }

    #[test]
    fn a_star_is_the_last_number() {
        assert!(in_set("1,3:*", 4, 5));
        assert!(in_set("9:*", 5, 5));
        assert!(!in_set("1,3:*", 2, 5));
    }
}
