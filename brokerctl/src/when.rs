//! Times and spans as people write and read them.
//!
//! Invariant: the one place of this tool that asks the wall clock. JSON gets RFC 3339, people get `in 3 h`.

use std::time::{Duration, SystemTime};

use prost_types::{Duration as ProtoDuration, Timestamp};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads `30d`, `12h`, `15m`, `90s`, `2w` or several in a row such as `1d12h`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time span; write it like 30d, 12h, 15m or 90s");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let each = match unit {
            's' => 1,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            'w' => WEEK,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(each).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    // A thousand years are more than any date can carry on.
    let sane = !text.is_empty() && seconds <= 1000 * 365 * DAY;
    sane.then(|| Duration::from_secs(seconds)).ok_or_else(wrong)
}

/// Reads a moment: a span from now on, a date, or a time as RFC 3339 has it.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = span(text) {
        return Ok((now() + span).into());
    }
    text.parse()
        .map_err(|_| format!("{text:?} is no time; write 90d, 2027-01-31 or 2027-01-31T12:00:00Z"))
}

/// Reads a moment that has been: a span before now, a date, or a time as RFC 3339 has it.
pub(crate) fn past(text: &str) -> Result<Timestamp, String> {
    match span(text) {
        Ok(span) => Ok(now().checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH).into()),
        Err(_) => moment(text),
    }
}

/// For the wire.
pub(crate) fn wire(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap_or_default()
}

/// RFC 3339, for JSON.
pub(crate) fn iso(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Seconds, for JSON.
pub(crate) fn seconds(span: ProtoDuration) -> f64 {
    Duration::try_from(span).map_or(0.0, |span| span.as_secs_f64())
}

/// `in 3 h`, `2 d ago`, or a dash, for people.
pub(crate) fn relative(at: Option<&str>, now: SystemTime) -> String {
    let parsed = at.and_then(|at| at.parse::<Timestamp>().ok());
    let Some(at) = parsed.and_then(|at| SystemTime::try_from(at).ok()) else {
        return "-".into();
    };
    match at.duration_since(now) {
        Ok(ahead) if ahead.as_secs() == 0 => "now".into(),
        Ok(ahead) => format!("in {}", rough(ahead)),
        Err(past) if past.duration().as_secs() == 0 => "now".into(),
        Err(past) => format!("{} ago", rough(past.duration())),
    }
}

fn rough(span: Duration) -> String {
    match span.as_secs() {
        s if s < 2 * MINUTE => format!("{s} s"),
        s if s < 2 * HOUR => format!("{} min", s / MINUTE),
        s if s < 2 * DAY => format!("{} h", s / HOUR),
        s => format!("{} d", s / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("1d12h", 129_600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "5", "d", "5x", "-5m", "5 m", "99999999999999999999d", "1ü", "9999999w"]
        {
            assert!(span(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn moments_are_dates_times_or_spans_from_now_on() {
        assert_eq!(moment("2027-01-31T00:00:00Z").unwrap().to_string(), "2027-01-31T00:00:00Z");
        assert_eq!(moment("2027-01-31").unwrap().to_string(), "2027-01-31T00:00:00Z");
        assert!(SystemTime::try_from(moment("1h").unwrap()).unwrap() > now());
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn people_read_how_far_away_it_is() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * DAY);
        let at = |seconds: u64| {
            Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        };
        assert_eq!(relative(Some(&at(10 * DAY + 3 * HOUR)), now), "in 3 h");
        assert_eq!(relative(Some(&at(5 * DAY)), now), "5 d ago");
        assert_eq!(relative(Some(&at(10 * DAY)), now), "now");
        assert_eq!(relative(None, now), "-");
    }
}
