//! The parts of a mail: header, text, single fields.
//!
//! Pure. Every mail counts as one text part; multipart structure is not taken apart. Next: [`super::envelope`].

use std::borrow::Cow;

/// The header with the empty line that ends it.
pub(super) fn header(raw: &[u8]) -> &[u8] {
    &raw[..header_end(raw)]
}

/// What follows the header.
pub(super) fn text(raw: &[u8]) -> &[u8] {
    &raw[header_end(raw)..]
}

/// The part that a section names (RFC 3501 section 6.4.5), in upper case; `None` if it is unknown.
pub(super) fn section<'r>(raw: &'r [u8], section: &str) -> Option<Cow<'r, [u8]>> {
    if let Some(names) = section.strip_prefix("HEADER.FIELDS.NOT ") {
        return Some(Cow::Owned(fields(raw, names, false)));
    }
    if let Some(names) = section.strip_prefix("HEADER.FIELDS ") {
        return Some(Cow::Owned(fields(raw, names, true)));
    }
    match section {
        "" => Some(Cow::Borrowed(raw)),
        "HEADER" | "MIME" | "1.MIME" => Some(Cow::Borrowed(header(raw))),
        "TEXT" | "1" | "1.TEXT" => Some(Cow::Borrowed(text(raw))),
        _ => None,
    }
}

/// BODYSTRUCTURE of a single text part.
pub(super) fn structure(raw: &[u8]) -> String {
    let text = text(raw);
    let lines = text.iter().filter(|&&byte| byte == b'\n').count();
    format!("(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"UTF-8\") NIL NIL \"8BIT\" {} {lines})", text.len())
}

/// The value of the first field of that name, unfolded.
pub(super) fn field(raw: &[u8], name: &str) -> Option<String> {
    let found = header_fields(raw).find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    let (_, value) = std::str::from_utf8(found.1).ok()?.split_once(':')?;
    Some(value.replace("\r\n", "").trim().to_owned())
}

fn header_end(raw: &[u8]) -> usize {
    raw.windows(4).position(|four| four == b"\r\n\r\n").map_or(raw.len(), |at| at + 4)
}

fn fields(raw: &[u8], names: &str, wanted: bool) -> Vec<u8> {
    let names: Vec<&str> =
        names.trim_matches(['(', ')']).split(' ').map(|name| name.trim_matches('"')).collect();
    let mut out = Vec::new();
    for (name, whole) in header_fields(raw) {
        if names.iter().any(|one| one.eq_ignore_ascii_case(&name)) == wanted {
            out.extend_from_slice(whole);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Names and whole lines of the header's fields, continuation lines included.
fn header_fields(raw: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
    let mut rest = header(raw);
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let line = rest[end..].iter().position(|&byte| byte == b'\n')? + 1;
            end += line;
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (whole, after) = rest.split_at(end);
        rest = after;
        let colon = whole.iter().position(|&byte| byte == b':')?;
        Some((String::from_utf8_lossy(&whole[..colon]).into_owned(), whole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"From: a@x\r\nSubject: one\r\n two\r\nTo: b@x\r\n\r\nhello\r\n";

    #[test]
    fn fields_keep_their_continuation_lines() {
        assert_eq!(field(MAIL, "subject").as_deref(), Some("one two"));
        let got = section(MAIL, "HEADER.FIELDS (SUBJECT TO)").unwrap();
        assert_eq!(&*got, b"Subject: one\r\n two\r\nTo: b@x\r\n\r\n");
    }

    #[test]
    fn header_and_text_make_the_whole() {
        assert_eq!([header(MAIL), text(MAIL)].concat(), MAIL);
        assert_eq!(text(b"no header end"), b"");
    }
}
