//! What no file may hold: promises to do it later, keywords we do without, names of machines.
//!
//! Never reads Rust's comments and strings as code. Invariant: this file does not hold the words it looks for.
//! Next: nothing; this is the last wall.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::finding::Finding;

/// Kinds of text whose words are read. Others (locks, keys, pictures) have no words of ours.
const READ: [&str; 14] = [
    ".rs", ".toml", ".md", ".sh", ".py", ".mjs", ".json", ".proto", ".sql", ".yaml", ".yml",
    ".html", ".service", "Makefile",
];

/// Pieces of a word, put together when looked for; and what to say.
const WORDS: [(&[&str], &str); 6] = [
    (&["TO", "DO"], "do it now, or write an issue and take the word out"),
    (&["FIX", "ME"], "do it now, or write an issue and take the word out"),
    (&["/wo", "rk/"], "a path of one machine. Say it relative to the repository"),
    (&["/ro", "ot/"], "a path of one machine. Say it relative to the repository"),
    (&["/ho", "me/"], "a path of one machine. Say it relative to the repository"),
    (&["artif", "actory"], "the name of one registry host. Take it out"),
];

/// Every word of one file that should not be there.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !READ.iter().any(|kind| path.ends_with(kind)) {
        return findings;
    }
    for (at, line) in text.lines().enumerate() {
        for (pieces, remedy) in WORDS {
            let word = pieces.concat();
            if holds(line, &word) {
                findings.push(Finding::new(path, at + 1, format!("holds {word}: {remedy}")));
            }
        }
        if path.ends_with("package-lock.json") && line.contains(&["\"reso", "lved\""].concat()) {
            let told =
                "names a registry host. Strip it: scripts/strip-lock.sh (the integrity hash stays)";
            findings.push(Finding::new(path, at + 1, told));
        }
    }
    if path.ends_with(".rs") {
        let tokens: Result<TokenStream, _> = text.parse();
        keywords(path, tokens.unwrap_or_default(), false, &mut findings);
    }
    findings
}

/// The word, and not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !part(before) && (word.ends_with('/') || !part(after))
    })
}

/// Keywords in code, where comments and strings are no longer there.
fn keywords(path: &str, tokens: TokenStream, attribute: bool, findings: &mut Vec<Finding>) {
    let mut after_hash = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == ["un", "safe"].concat().as_str() => {
                let told = "is unsafe. Nothing here needs it; use a crate that was reviewed";
                findings.push(Finding::new(path, word.span().start().line, told));
            }
            TokenTree::Ident(word) if attribute && word == ["al", "low"].concat().as_str() => {
                if matches!(tokens.peek(), Some(TokenTree::Group(_))) {
                    let told = "silences a lint for ever. Use #[expect(.., reason = \"..\")]";
                    findings.push(Finding::new(path, word.span().start().line, told));
                }
            }
            TokenTree::Group(group) => {
                let opens = after_hash && group.delimiter() == Delimiter::Bracket;
                keywords(path, group.stream(), attribute || opens, findings);
                after_hash = false;
            }
            TokenTree::Punct(mark) => {
                after_hash = mark.as_char() == '#' || after_hash && mark.as_char() == '!';
            }
            _ => after_hash = false,
        }
    }
}
