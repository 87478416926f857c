//! Finds secrets where none may be: in logs, metrics, database files.
//!
//! Looks for every form in which a secret survives careless code: as it is, hex, base64 at its three alignments (and in the
//! URL alphabet), percent-encoded, JSON-escaped. It never changes what it reads. Next: `tests/canary.rs`.

use std::collections::{BTreeSet, HashMap};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret that leaked: which, in which form, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The name it was given.
    pub secret: String,
    /// The form it was found in.
    pub form: &'static str,
    /// Where.
    pub place: String,
}

/// A secret under a name that may be shown.
#[derive(Clone)]
pub struct Marked {
    name: String,
    value: Vec<u8>,
}

impl std::fmt::Debug for Marked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Marked({}, [secret])", self.name)
    }
}

impl Marked {
    /// The secret `value` under `name`.
    pub fn new(name: &str, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.to_owned(), value: value.as_ref().to_vec() }
    }

    /// Every form it may be found in, by name.
    pub fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let value = &self.value;
        let hex = data_encoding::HEXLOWER.encode(value);
        let mut forms = vec![
            ("raw", value.clone()),
            ("hex", hex.clone().into_bytes()),
            ("HEX", hex.to_uppercase().into_bytes()),
            ("percent-encoded", percent(value, true)),
            ("percent-encoded in lower case", percent(value, false)),
            ("JSON-escaped", json(value)),
            ("bytes in decimal", decimal(value)),
        ];
        let names = [
            ["base64 at 0", "base64 at 1", "base64 at 2"],
            ["base64url at 0", "base64url at 1", "base64url at 2"],
        ];
        for (offset, (plain, url)) in names[0].iter().zip(names[1]).enumerate() {
            forms.push((plain, aligned(&STANDARD_NO_PAD, value, offset)));
            forms.push((url, aligned(&URL_SAFE_NO_PAD, value, offset)));
        }
        forms
    }
}

/// How many of a needle's first bytes the index is made of; a shorter needle says too little to be looked for.
const HEAD: usize = 8;

/// Looks for all `secrets` in `bytes`, which are called `place`, in one pass. One leak for each secret and form.
pub fn find(secrets: &[Marked], place: &str, bytes: &[u8]) -> Vec<Leak> {
    let needles: Vec<(&Marked, &'static str, Vec<u8>)> = secrets
        .iter()
        .flat_map(|secret| secret.forms().into_iter().map(move |(form, it)| (secret, form, it)))
        .filter(|(_, _, needle)| needle.len() >= HEAD)
        .collect();
    let mut by_head: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let mut begins = [false; 256];
    for (at, (_, _, needle)) in needles.iter().enumerate() {
        by_head.entry(&needle[..HEAD]).or_default().push(at);
        begins[usize::from(needle[0])] = true;
    }
    let mut hits = BTreeSet::new();
    for (at, head) in bytes.windows(HEAD).enumerate() {
        if begins[usize::from(head[0])]
            && let Some(candidates) = by_head.get(head)
        {
            let fits = |it: &&usize| bytes[at..].starts_with(&needles[**it].2);
            hits.extend(candidates.iter().filter(fits).copied());
        }
    }
    let leak = |at: usize| Leak {
        secret: needles[at].0.name.clone(),
        form: needles[at].1,
        place: place.to_owned(),
    };
    hits.into_iter().map(leak).collect()
}

/// What of the base64 text stays the same whatever stands before and after a secret that begins `offset` bytes into a group.
fn aligned(engine: &impl Engine, value: &[u8], offset: usize) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(value);
    padded.truncate(padded.len() / 3 * 3);
    let text = engine.encode(&padded);
    // The first group is mixed with what stands before.
    let from = if offset == 0 { 0 } else { 4 };
    text.as_bytes().get(from..).unwrap_or_default().to_vec()
}

fn percent(value: &[u8], upper: bool) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encoded = value.iter().map(|byte| match (is_plain(byte), upper) {
        (true, _) => char::from(*byte).to_string(),
        (false, true) => format!("%{byte:02X}"),
        (false, false) => format!("%{byte:02x}"),
    });
    encoded.collect::<String>().into_bytes()
}

fn json(value: &[u8]) -> Vec<u8> {
    let text = serde_json::to_string(&String::from_utf8_lossy(value)).unwrap_or_default();
    text.trim_matches('"').as_bytes().to_vec()
}

/// As `{:?}` prints bytes.
fn decimal(value: &[u8]) -> Vec<u8> {
    let numbers: Vec<String> = value.iter().map(u8::to_string).collect();
    numbers.join(", ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "tb_k3y/with+odd \"chars\"&more_0123456789";

    #[test]
    fn a_planted_leak_is_found_in_every_form() {
        let secret = Marked::new("it", SECRET);
        for (form, needle) in secret.forms() {
            let text = [b"before ".as_slice(), &needle, b" after"].concat();
            let leaks = find(std::slice::from_ref(&secret), "a log", &text);
            assert!(leaks.iter().any(|leak| leak.form == form), "{form}: {leaks:?}");
        }
        assert!(find(&[secret], "a log", b"nothing to see").is_empty());
    }

    #[test]
    fn base64_is_found_whatever_stands_around_the_secret() {
        let secret = Marked::new("it", SECRET);
        for before in 0..6 {
            for after in 0..3 {
                let whole = ["x".repeat(before), SECRET.to_owned(), "y".repeat(after)].concat();
                for text in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let leaks = find(std::slice::from_ref(&secret), "a log", text.as_bytes());
                    assert!(!leaks.is_empty(), "{before} before and {after} after: {text}");
                }
            }
        }
    }
}
