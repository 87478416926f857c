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

    /// The last non-empty text of that name: a second, empty `refresh_token` does not hide the first. With `nested` also
    /// from inside another field, if there is none at the top.
    ///
    /// A text with bytes in it that are not UTF-8 is not the token that was meant, so it is none.
    pub(super) fn token(&self, name: &str, nested: bool) -> Option<Secret> {
        let top = self.entries.iter().rev().filter(|(key, _)| key == name);
        let found = top.filter_map(|(_, value)| token_text(value)).next();
        let inside = || self.entries.iter().rev().find_map(|(_, value)| inside(value, name));
        found.or_else(|| inside().filter(|_| nested)).map(Secret::from)
    }

    /// Every token in the answer, at the top or inside.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let names = ["access_token", "refresh_token", "id_token"];
        let mut found = Vec::new();
        for (key, value) in &self.entries {
            collect(key, value, &names, &mut found);
        }
        found.into_iter()
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

fn token_text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER))
}

/// The first token of that name somewhere in `value`. The parser has bounded the depth.
fn inside<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    match value {
        Value::Object(fields) => {
            let here = fields.get(name).and_then(token_text);
            here.or_else(|| fields.values().find_map(|value| inside(value, name)))
        }
        Value::Array(items) => items.iter().find_map(|value| inside(value, name)),
        _ => None,
    }
}

fn collect<'v>(key: &str, value: &'v Value, names: &[&str], found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) if names.contains(&key) => found.push(text),
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(key, value, names, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(key, value, names, found)),
        _ => {}
    }
}

/// Tokens, lives and error out of something that is not JSON as a whole: cut off, with an unreadable number, in an array,
/// behind other bytes, or a form.
fn salvage(text: &str) -> Vec<(String, Value)> {
    const WANTED: [&str; 10] = [
        "access_token",
        "refresh_token",
        "id_token",
        "token_type",
        "expires_in",
        "refresh_token_expires_in",
        "refresh_expires_in",
        "scope",
        "error",
        "error_description",
    ];
    if text.starts_with('<') {
        return Vec::new();
    }
    if !text.starts_with(['{', '[']) {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        let wanted = pairs.filter(|(name, _)| WANTED.contains(&name.as_ref()));
        let form: Vec<_> = wanted
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        if !form.is_empty() {
            return form;
        }
    }
    let found =
        WANTED.iter().filter_map(|name| Some(((*name).to_owned(), salvage_text(text, name)?)));
    found.collect()
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
