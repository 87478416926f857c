//! ENVELOPE: the header as IMAP retells it (RFC 3501 section 7.4.2).
//!
//! Pure. Addresses are `Name <local@host>` or `local@host`, parted by commas; groups are not known. Next:
//! [`super::fetch`].

use super::body::field;
use super::folders::quoted;

/// The envelope of a mail.
pub(super) fn envelope(raw: &[u8]) -> String {
    let text = |name: &str| field(raw, name).map_or("NIL".to_owned(), |value| quoted(&value));
    let people = |name: &str| field(raw, name).map_or("NIL".to_owned(), |value| addresses(&value));
    let from = people("From");
    let or_from = |people: String| if people == "NIL" { from.clone() } else { people };
    let parts = [
        text("Date"),
        text("Subject"),
        from.clone(),
        or_from(people("Sender")),
        or_from(people("Reply-To")),
        people("To"),
        people("Cc"),
        people("Bcc"),
        text("In-Reply-To"),
        text("Message-ID"),
    ];
    format!("({})", parts.join(" "))
}

fn addresses(value: &str) -> String {
    let people: String = value.split(',').filter_map(|one| address(one.trim())).collect();
    if people.is_empty() { "NIL".to_owned() } else { format!("({people})") }
}

fn address(one: &str) -> Option<String> {
    let (name, address) = match one.rsplit_once('<') {
        Some((name, address)) => (name.trim().trim_matches('"'), address.trim_end_matches('>')),
        None => ("", one),
    };
    let (local, host) = address.split_once('@')?;
    let name = if name.is_empty() { "NIL".to_owned() } else { quoted(name) };
    Some(format!("({name} NIL {} {})", quoted(local), quoted(host)))
}
