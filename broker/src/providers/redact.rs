//! Words of a provider, made fit to be logged and shown.
//!
//! Never lets through what was sent in secret, nor a run that looks like a token. Invariant: the result is printable
//! ASCII of bounded length. Next: [`answer`](super::answer) puts it into `Refused`.

use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

const LONGEST_WORDS: usize = 300;
const LONGEST_CODE: usize = 64;
const TOKEN_LENGTH: usize = 20;
const GAP: &str = "[..]";

/// A description: without the `secrets`, as they are and as a form writes them, without token-like runs, printable, at most 300 bytes.
pub(super) fn words(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    let encoded = secrets.iter().map(|secret| byte_serialize(secret.as_bytes()).collect());
    let plain = secrets.iter().map(|secret| (*secret).to_owned());
    let mut hidden: Vec<Zeroizing<String>> = plain.chain(encoded).map(Zeroizing::new).collect();
    // The longer first: one may be a part of another.
    hidden.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), GAP);
    }
    let printable: String =
        text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    let mut out = String::new();
    for word in printable.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        push_without_tokens(&mut out, word);
        if out.len() > LONGEST_WORDS {
            break;
        }
    }
    out.truncate(LONGEST_WORDS);
    out
}

/// An error code: lower case, `a-z 0-9 _ . -`, at most 64 bytes; anything else becomes `_`, and a
/// code with a secret in it is no code.
pub(super) fn code(text: &str, secrets: &[&str]) -> String {
    let text = words(text, secrets);
    if text.contains(GAP) {
        return "unreadable".to_owned();
    }
    let kept = text.chars().map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '.' | '-') => c,
        _ => '_',
    });
    kept.take(LONGEST_CODE).collect()
}

fn push_without_tokens(out: &mut String, word: &str) {
    let mut run = String::new();
    for c in word.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_alphanumeric() || "._~+-=%".contains(c) => run.push(c),
            other => {
                out.push_str(if looks_like_token(&run) { GAP } else { &run });
                run.clear();
                out.extend(other);
            }
        }
    }
}

/// Long and mixed: prose has no digits within words, and trace ids, which support people ask for, have their own form.
fn looks_like_token(run: &str) -> bool {
    let mixed =
        run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
    run.len() >= TOKEN_LENGTH && mixed && uuid::Uuid::try_parse(run).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_out_and_prose_stays() {
        let text = "AADSTS70043: The refresh token ya29.a0AfH6SMBcanaryCanary123 has expired.\r\n\
                    Trace ID: 7f1a2b3c-0000-4000-8000-123456789abc see https://support.google.com/a/answer/9368756";
        let seen = words(text, &[]);
        assert!(!seen.contains("canary"), "{seen}");
        assert!(
            seen.starts_with("AADSTS70043: The refresh token [..] has expired. Trace ID: 7f1a2b3c")
        );
        assert!(seen.ends_with("/a/answer/9368756"));
    }

    #[test]
    fn what_was_sent_does_not_come_back() {
        let secrets = ["hunter", "hunter two", "a/b+c"];
        assert_eq!(words("no such thing: hunter two", &secrets), "no such thing: [..]");
        assert_eq!(words("in token=hunter+two&x=a%2Fb%2Bc", &secrets), "in token=[..]&x=[..]");
        assert_eq!(code("hunter two", &secrets), "unreadable");
    }

    #[test]
    fn the_result_is_short_and_printable() {
        let seen = words(&"\u{1b}[31m <script> \u{0} ä ".repeat(200), &[]);
        assert!(seen.len() <= 300 && seen.bytes().all(|b| (0x20..0x7f).contains(&b)));
        assert_eq!(code("INVALID_GRANT", &[]), "invalid_grant");
        assert_eq!(code(&"x y".repeat(100), &[]).len(), 64);
    }
}
