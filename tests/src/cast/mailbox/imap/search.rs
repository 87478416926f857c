//! SEARCH: which mails fit (RFC 3501 section 6.4.4).
//!
//! Pure. Knows flags, sets, texts, sizes, NOT and OR; dates are not known and make the search BAD. Next:
//! [`super::messages`].

use super::body;
use super::messages::Numbered;
use super::syntax::{Arg, in_set, is_set};

const DEPTH_MAX: usize = 16;

/// The mails that fit all keys; `None` if a key is unknown.
pub(super) fn search<'m>(keys: &[Arg], all: &'m [Numbered]) -> Option<Vec<&'m Numbered>> {
    // The charset is taken as UTF-8, whatever it is called.
    let keys =
        if keys.first().is_some_and(|key| key.is("CHARSET")) { keys.get(2..)? } else { keys };
    let last = all.last();
    let bounds = (last.map_or(0, |it| it.number), last.map_or(0, |it| it.message.uid));
    let mut found = Vec::new();
    for mail in all {
        if fits_all(keys, mail, bounds)? {
            found.push(mail);
        }
    }
    (!keys.is_empty()).then_some(found)
}

fn fits_all(keys: &[Arg], mail: &Numbered, bounds: (u32, u32)) -> Option<bool> {
    let mut keys = Keys { rest: keys, mail, bounds };
    let mut all = true;
    while !keys.rest.is_empty() {
        all &= keys.next(0)?;
    }
    Some(all)
}

struct Keys<'k> {
    rest: &'k [Arg],
    mail: &'k Numbered,
    bounds: (u32, u32),
}

impl Keys<'_> {
    fn next(&mut self, depth: usize) -> Option<bool> {
        let (key, rest) = self.rest.split_first()?;
        self.rest = rest;
        if let Arg::List(inner) = key {
            return (depth < DEPTH_MAX).then(|| fits_all(inner, self.mail, self.bounds))?;
        }
        let word = key.text()?.to_ascii_uppercase();
        match word.as_str() {
            "NOT" if depth < DEPTH_MAX => self.next(depth + 1).map(|fits| !fits),
            "OR" if depth < DEPTH_MAX => {
                let (one, other) = (self.next(depth + 1)?, self.next(depth + 1)?);
                Some(one || other)
            }
            "UID" => self.word().map(|set| in_set(&set, self.mail.message.uid, self.bounds.1)),
            set if is_set(set) => Some(in_set(set, self.mail.number, self.bounds.0)),
            _ => self.flag(&word).or_else(|| self.text_key(&word)),
        }
    }

    fn flag(&self, word: &str) -> Option<bool> {
        let has = |flag: &str| self.mail.message.flags.contains(flag);
        Some(match word {
            "ALL" | "OLD" => true,
            "NEW" | "RECENT" => false,
            "SEEN" => has("\\Seen"),
            "UNSEEN" => !has("\\Seen"),
            "FLAGGED" => has("\\Flagged"),
            "UNFLAGGED" => !has("\\Flagged"),
            "DELETED" => has("\\Deleted"),
            "UNDELETED" => !has("\\Deleted"),
            "ANSWERED" => has("\\Answered"),
            "UNANSWERED" => !has("\\Answered"),
            "DRAFT" => has("\\Draft"),
            "UNDRAFT" => !has("\\Draft"),
            _ => return None,
        })
    }

    fn text_key(&mut self, word: &str) -> Option<bool> {
        let raw = &*self.mail.message.raw;
        Some(match word {
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
                let wanted = self.word()?;
                contains(body::field(raw, word).unwrap_or_default().as_bytes(), &wanted)
            }
            "HEADER" => {
                let (name, wanted) = (self.word()?, self.word()?);
                body::field(raw, &name).is_some_and(|value| contains(value.as_bytes(), &wanted))
            }
            "BODY" => contains(body::text(raw), &self.word()?),
            "TEXT" => contains(raw, &self.word()?),
            "LARGER" => raw.len() > self.word()?.parse().ok()?,
            "SMALLER" => raw.len() < self.word()?.parse().ok()?,
            "KEYWORD" => self.mail.message.flags.contains(&self.word()?),
            _ => return None,
        })
    }

    fn word(&mut self) -> Option<String> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        word.text()
    }
}

/// Whether a text contains a word, ASCII case aside.
fn contains(text: &[u8], word: &str) -> bool {
    let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    word.is_empty() || text.windows(word.len()).any(|window| window == word.as_bytes())
}
