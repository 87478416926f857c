//! Capability lists: what we offer before login, what the provider offers after it, what the provider can before we log in.
//!
//! Never adds to the provider's list; of it only what cannot work any more is left out. Invariant: before login only
//! what `downstream` answers is offered. Next: `reply` puts the lists into answers.

use adapter_core::dialogue::{ClientFacts, Mechanism};

/// What a client that has not logged in can do here.
pub(crate) fn before_login(facts: &ClientFacts) -> String {
    let mut list = String::from("IMAP4rev1 SASL-IR LITERAL- ID");
    if facts.starttls && !facts.encrypted {
        list.push_str(" STARTTLS");
    }
    list.push_str(if may_log_in(facts) { " AUTH=PLAIN" } else { " LOGINDISABLED" });
    list
}

/// Whether a password may come over this connection as it is.
pub(crate) fn may_log_in(facts: &ClientFacts) -> bool {
    facts.encrypted || facts.plain_allowed
}

/// The provider's list as a logged-in client may see it: STARTTLS and LOGINDISABLED have no meaning any more.
pub(crate) fn after_login(list: &str) -> String {
    let usable =
        |word: &&str| !["STARTTLS", "LOGINDISABLED"].iter().any(|no| word.eq_ignore_ascii_case(no));
    list.split_ascii_whitespace().filter(usable).collect::<Vec<_>>().join(" ")
}

/// A list a server sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(String);

impl Capabilities {
    /// Takes the words behind CAPABILITY; words that cannot be capabilities are dropped.
    pub(crate) fn new(words: &str) -> Self {
        let fits =
            |word: &&str| word.bytes().all(|b| b.is_ascii_graphic() && !b"[](){\"\\".contains(&b));
        Self(words.split_ascii_whitespace().filter(fits).collect::<Vec<_>>().join(" "))
    }

    /// Whether `word` is among them.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.split(' ').any(|offered| offered.eq_ignore_ascii_case(word))
    }

    /// Whether one can log in with this mechanism.
    pub(crate) fn offer(&self, mechanism: Mechanism) -> bool {
        self.has(&format!("AUTH={}", mechanism.name()))
    }

    /// As one line.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(encrypted: bool, starttls: bool, plain_allowed: bool) -> ClientFacts {
        ClientFacts {
            server_name: "imap.example.com".to_owned(),
            encrypted,
            starttls,
            plain_allowed,
            extensions: vec![],
            attempts: 3,
        }
    }

    #[test]
    fn a_login_is_offered_only_where_it_is_taken() {
        let base = "IMAP4rev1 SASL-IR LITERAL- ID";
        assert_eq!(before_login(&facts(true, false, false)), format!("{base} AUTH=PLAIN"));
        assert_eq!(
            before_login(&facts(false, true, false)),
            format!("{base} STARTTLS LOGINDISABLED")
        );
        assert_eq!(before_login(&facts(false, true, true)), format!("{base} STARTTLS AUTH=PLAIN"));
    }

    #[test]
    fn only_what_cannot_work_is_left_out_after_login() {
        assert_eq!(
            after_login("IMAP4rev1 IDLE STARTTLS COMPRESS=DEFLATE logindisabled"),
            "IMAP4rev1 IDLE COMPRESS=DEFLATE"
        );
    }

    #[test]
    fn offers_are_found_in_any_case() {
        let list = Capabilities::new("IMAP4rev1 auth=xoauth2 SASL-IR bad[word");
        assert!(list.offer(Mechanism::XOauth2) && list.has("sasl-ir"));
        assert!(!list.offer(Mechanism::Plain) && !list.has("AUTH"));
        assert_eq!(list.into_text(), "IMAP4rev1 auth=xoauth2 SASL-IR");
    }
}
