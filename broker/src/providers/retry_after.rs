//! `Retry-After` (RFC 9110 section 10.2.3): seconds, a date, or nonsense.
//!
//! Never believes more than [`LONGEST`]. Invariant: what cannot be read is no wish at all. Next: [`wire`](super::wire)
//! puts it into every answer.

use std::time::Duration;

use crate::clock::Time;

/// The longest wait a provider can ask for.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that a header value asks for, counted from `now`; a date in the past is zero.
pub(super) fn parse(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that do not fit are still a wish, and a long one.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        now.until(http_date(value)?)
    };
    Some(wait.min(LONGEST))
}

/// An IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7); the obsolete forms are not read.
fn http_date(text: &str) -> Option<Time> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let mut words = date.split(' ');
    let day = small(words.next()?, 31)?;
    let name = words.next()?;
    let month = MONTHS.iter().zip(1..).find(|(month, _)| **month == name)?.1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':');
    let (hour, minute) = (small(clock.next()?, 23)?, small(clock.next()?, 59)?);
    let second = small(clock.next()?, 60)?;
    if words.next() != Some("GMT") || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Time::from_millis(seconds * 1000))
}

fn small(text: &str, most: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (0..=most).contains(number))
}

/// Days from 1970-01-01, by counting years from March so that the leap day comes last.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z, the moment in RFC 9110.
    const RFC: Time = Time::from_millis(784_111_777_000);

    fn wait(value: &str) -> Option<u64> {
        parse(value, RFC.before(Duration::from_secs(90))).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(90));
        assert_eq!(wait("Sun, 06 Nov 1993 08:49:37 GMT"), Some(0));
    }

    #[test]
    fn ten_years_are_an_hour() {
        assert_eq!(wait("315360000"), Some(3600));
        assert_eq!(wait("99999999999999999999999999"), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 2004 08:49:37 GMT"), Some(3600));
    }

    #[test]
    fn nonsense_is_no_wish() {
        for value in ["", "soon", "-5", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994"]
        {
            assert_eq!(wait(value), None, "{value}");
        }
    }

    #[test]
    fn leap_days_count() {
        assert_eq!(days_since_epoch(1970, 1, 1), 0);
        assert_eq!(days_since_epoch(2000, 3, 1) - days_since_epoch(2000, 2, 28), 2);
        assert_eq!(days_since_epoch(2100, 3, 1) - days_since_epoch(2100, 2, 28), 1);
    }
}
