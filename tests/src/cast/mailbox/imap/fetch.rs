//! What FETCH says about one mail.
//!
//! Pure. Texts go out as literals, byte for byte. Next: [`super::body`] for parts, [`super::envelope`] for headers.

use super::super::store::Message;
use super::{body, envelope};

/// The items asked for, macros unfolded (RFC 3501 section 6.4.5), with the uid when asked by uid.
pub(super) fn items(words: &[String], by_uid: bool) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for word in words {
        let word = word.to_ascii_uppercase();
        let unfolded: &[&str] = match word.as_str() {
            "ALL" => &["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"],
            "FAST" => &["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
            "FULL" => &["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"],
            other => &[other],
        };
        items.extend(unfolded.iter().map(|&item| item.to_owned()));
    }
    if by_uid && !items.iter().any(|item| item == "UID") {
        items.insert(0, "UID".to_owned());
    }
    items
}

/// Whether fetching an item marks the mail as read.
pub(super) fn marks_seen(item: &str) -> bool {
    item.starts_with("BODY[") || item == "RFC822" || item == "RFC822.TEXT"
}

/// The untagged answer for one mail; `None` if an item is unknown.
pub(super) fn line(number: u32, message: &Message, items: &[String]) -> Option<Vec<u8>> {
    let mut line = format!("* {number} FETCH (").into_bytes();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            line.push(b' ');
        }
        line.extend(one(message, item)?);
    }
    line.extend_from_slice(b")\r\n");
    Some(line)
}

fn one(message: &Message, item: &str) -> Option<Vec<u8>> {
    let raw = &*message.raw;
    Some(match item {
        "FLAGS" => format!("FLAGS ({})", joined(&message.flags)).into_bytes(),
        "UID" => format!("UID {}", message.uid).into_bytes(),
        "RFC822.SIZE" => format!("RFC822.SIZE {}", raw.len()).into_bytes(),
        "INTERNALDATE" => format!("INTERNALDATE \"{}\"", date(message.received_ms)).into_bytes(),
        "ENVELOPE" => format!("ENVELOPE {}", envelope::envelope(raw)).into_bytes(),
        "BODY" | "BODYSTRUCTURE" => format!("{item} {}", body::structure(raw)).into_bytes(),
        "RFC822" => literal(item, raw),
        "RFC822.HEADER" => literal(item, body::header(raw)),
        "RFC822.TEXT" => literal(item, body::text(raw)),
        _ => section(raw, item)?,
    })
}

/// `BODY[section]<first.count>` and its PEEK form.
fn section(raw: &[u8], item: &str) -> Option<Vec<u8>> {
    let rest = item.strip_prefix("BODY.PEEK[").or_else(|| item.strip_prefix("BODY["))?;
    let (section, partial) = rest.rsplit_once(']')?;
    let content = body::section(raw, section)?;
    let Some(partial) = partial.strip_prefix('<').and_then(|partial| partial.strip_suffix('>'))
    else {
        return partial.is_empty().then(|| literal(&format!("BODY[{section}]"), &content));
    };
    let (first, count) = partial.split_once('.')?;
    let (first, count): (usize, usize) = (first.parse().ok()?, count.parse().ok()?);
    let start = first.min(content.len());
    let end = start.saturating_add(count).min(content.len());
    Some(literal(&format!("BODY[{section}]<{first}>"), &content[start..end]))
}

fn literal(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = format!("{name} {{{}}}\r\n", content.len()).into_bytes();
    out.extend_from_slice(content);
    out
}

fn joined<'f>(flags: impl IntoIterator<Item = &'f String>) -> String {
    flags.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// A date-time of RFC 3501, such as `01-Jan-2026 00:00:00 +0000`.
fn date(ms: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    let name = usize::try_from(month).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("Jan");
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{day:02}-{name}-{year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_fall_on_the_right_day() {
        assert_eq!(date(0), "01-Jan-1970 00:00:00 +0000");
        assert_eq!(date(951_782_400_000), "29-Feb-2000 00:00:00 +0000");
        assert_eq!(date(1_795_399_902_000), "23-Nov-2026 02:11:42 +0000");
    }
}
