//! The fields of an answer, read from whatever came.
//!
//! Never gives up on a token: JSON that is cut off, doubled or spoilt elsewhere still yields the tokens that stand in it
//! whole. Invariant: nothing is invented; a text counts only if it is complete. Next: [`answer`](super::answer).

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::domain::secret::Secret;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Empty,
    Object,
    Other,
}

/// The top-level fields of an answer, in order, doubles kept.
pub(super) struct Fields {
    entries: Vec<(String, Value)>,
    pub(super) shape: Shape,
}

impl Fields {
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Self { entries: Vec::new(), shape: Shape::Empty };
        }
        // A stream: whatever follows the object is not our concern.
        let mut json = serde_json::Deserializer::from_str(text);
        match Entries::deserialize(&mut json) {
            Ok(Entries(entries)) => Self { entries, shape: Shape::Object },
            Err(_) => Self { entries: salvage(text), shape: Shape::Other },
        }
    }

    /// The last field of that name, as most JSON readers have it.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.entries.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// The last non-empty text of that name: a second, empty `refresh_token` does not hide the first.
    pub(super) fn token(&self, name: &str) -> Option<Secret> {
        let named = self.entries.iter().rev().filter(|(key, _)| key == name);
        named
            .filter_map(|(_, value)| value.as_str())
            .find(|text| !text.is_empty())
            .map(Secret::from)
    }

    pub(super) fn error_message(&self) -> Option<&str> {
        self.value("error")?.get("message")?.as_str()
    }

    /// AADSTS numbers, from their field or out of the words.
    pub(super) fn numbers(&self, words: Option<&str>) -> Vec<u32> {
        let listed = self.value("error_codes").and_then(Value::as_array);
        let listed = listed.into_iter().flatten().take(8).filter_map(Value::as_u64);
        let spoken = words.and_then(|words| words.split_once("AADSTS")).map(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        });
        listed.chain(spoken).filter_map(|number| u32::try_from(number).ok()).collect()
    }
}

struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Tokens and error out of something that is not JSON as a whole: cut off, with an unreadable number, or a form.
fn salvage(text: &str) -> Vec<(String, Value)> {
    const WANTED: [&str; 6] =
        ["access_token", "refresh_token", "id_token", "token_type", "error", "error_description"];
    if text.starts_with(['{', '[']) {
        let found =
            WANTED.iter().filter_map(|name| Some(((*name).to_owned(), salvage_text(text, name)?)));
        return found.collect();
    }
    if text.starts_with('<') {
        return Vec::new();
    }
    let pairs = url::form_urlencoded::parse(text.as_bytes());
    let wanted = pairs.filter(|(name, _)| WANTED.contains(&name.as_ref()));
    wanted.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}

/// The last complete `"name": "text"` in a broken object.
fn salvage_text(text: &str, name: &str) -> Option<Value> {
    let quoted = format!("\"{name}\"");
    text.rmatch_indices(&quoted).find_map(|(at, _)| {
        let rest = text[at + quoted.len()..].trim_start().strip_prefix(':')?;
        let mut json = serde_json::Deserializer::from_str(rest);
        let found = String::deserialize(&mut json).ok()?;
        (!found.is_empty()).then_some(Value::String(found))
    })
}
