//! One reply line of a server, read as far as a login needs it (RFC 3501 section 7).
//!
//! Never looks into data: whatever is not a status, a continuation or a capability list is [`Response::Other`]. Invariant:
//! a line that announces a literal is no response here, since nothing before login has one. Next: `upstream`, `refusal`.

use crate::capability::Capabilities;
use crate::literal::announced;

/// A reply line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response<'a> {
    /// `tag OK|NO|BAD text`.
    Tagged(&'a str, Status, Text<'a>),
    /// `* OK|NO|BAD|BYE|PREAUTH text`.
    Untagged(Status, Text<'a>),
    /// `* CAPABILITY list`.
    Capability(Capabilities),
    /// `+ challenge`; the challenge is for nobody.
    Continuation,
    /// Untagged data.
    Other,
}

/// How a command went, or what the server wants to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

/// A status text with its response code in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(&'a str);

impl<'a> Response<'a> {
    /// Reads a line without its CR LF.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        if line.first() == Some(&b'+') {
            return matches!(line.get(1), None | Some(b' ')).then_some(Self::Continuation);
        }
        let begin = line.iter().rposition(|byte| *byte == b'{').unwrap_or(line.len());
        if announced(&line[begin..]).is_some() {
            return None;
        }
        // Texts in other encodings than UTF-8 are seen in the wild; what we read of them is ASCII.
        let ascii = line.iter().position(|byte| !byte.is_ascii()).unwrap_or(line.len());
        let line = std::str::from_utf8(&line[..ascii]).ok()?;
        let (tag, rest) = line.split_once(' ')?;
        let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match (tag, status(word)) {
            ("*", Some(status)) => Some(Self::Untagged(status, Text(text))),
            ("*", None) if word.eq_ignore_ascii_case("CAPABILITY") => {
                Some(Self::Capability(Capabilities::new(text)))
            }
            ("*", None) => Some(Self::Other),
            (_, Some(Status::Bye | Status::PreAuth) | None) => None,
            (tag, Some(status)) => Some(Self::Tagged(tag, status, Text(text))),
        }
    }
}

impl<'a> Text<'a> {
    /// The response code with its arguments, without brackets.
    pub(crate) fn code(self) -> Option<&'a str> {
        self.0.strip_prefix('[')?.split_once(']').map(|(code, _)| code)
    }

    /// The capability list, if that is the response code.
    pub(crate) fn capabilities(self) -> Option<Capabilities> {
        let (word, list) = self.code()?.split_once(' ')?;
        word.eq_ignore_ascii_case("CAPABILITY").then(|| Capabilities::new(list))
    }

    /// All of it, at most 200 printable bytes: for a log.
    pub(crate) fn printable(self) -> String {
        self.0.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(200).collect()
    }
}

fn status(word: &str) -> Option<Status> {
    [
        ("OK", Status::Ok),
        ("NO", Status::No),
        ("BAD", Status::Bad),
        ("BYE", Status::Bye),
        ("PREAUTH", Status::PreAuth),
    ]
    .into_iter()
    .find_map(|(name, status)| word.eq_ignore_ascii_case(name).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_with_their_codes() {
        let Some(Response::Tagged("a", Status::No, text)) =
            Response::parse(b"a no [LIMIT x] Slow down")
        else {
            panic!()
        };
        assert_eq!(text.code(), Some("LIMIT x"));
        assert_eq!(Response::parse(b"* OK"), Some(Response::Untagged(Status::Ok, Text(""))));
        assert_eq!(Response::parse(b"+"), Some(Response::Continuation));
        assert_eq!(Response::parse(b"+ eyJ9"), Some(Response::Continuation));
        assert_eq!(Response::parse(b"* 3 EXISTS"), Some(Response::Other));
    }

    #[test]
    fn what_is_no_response_is_told_apart() {
        for line in ["", "a", "a BYE x", "a PREAUTH", "+x", "* LIST () {5}", "a FETCH"] {
            assert_eq!(Response::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
