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
        now.until(http_date(value, now)?)
    };
    Some(wait.min(LONGEST))
}

/// A date in any of the three forms of RFC 9110 section 5.6.7, the two obsolete ones included:
/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
fn http_date(text: &str, now: Time) -> Option<Time> {
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, clock) = match words.as_slice() {
        [_, day, month, year, clock, "GMT"] => (*day, *month, number(year, 9999)?, *clock),
        [_, date, clock, "GMT"] => {
            let mut parts = date.splitn(3, '-');
            let (day, month) = (parts.next()?, parts.next()?);
            (day, month, century(number(parts.next()?, 99)?, now), *clock)
        }
        [_, month, day, clock, year] => (*day, *month, number(year, 9999)?, *clock),
        _ => return None,
    };
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let day = number(day, 31).filter(|day| *day > 0)?;
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?);
    let second = number(clock.next()?, 60)?;
    let days = days_since_epoch(year, month, day);
    Some(Time::from_millis((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The year of two digits that lies nearest to `now`: at most 50 years ahead.
fn century(two_digits: i64, now: Time) -> i64 {
    let this_year = 1970 + now.seconds().div_euclid(31_556_952);
    let ahead = (two_digits - this_year).rem_euclid(100);
    if ahead > 50 { this_year + ahead - 100 } else { this_year + ahead }
}

fn number(text: &str, most: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
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
    fn the_obsolete_dates_are_read() {
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT"), Some(90));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994"), Some(90));
        assert_eq!(wait("Sun Nov 16 08:49:37 1994"), Some(3600));
        // Seen from 1994, 43 is 2043, and 45 was 1945.
        assert_eq!(wait("Friday, 06-Nov-43 08:49:37 GMT"), Some(3600));
        assert_eq!(wait("Tuesday, 06-Nov-45 08:49:37 GMT"), Some(0));
    }

    #[test]
    fn ten_years_are_an_hour() {
        assert_eq!(wait("315360000"), Some(3600));
        assert_eq!(wait("99999999999999999999999999"), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 2004 08:49:37 GMT"), Some(3600));
    }

    #[test]
    fn nonsense_is_no_wish() {
        for value in [
            "",
            "soon",
            "-5",
            "+5",
            "1.5",
            "0x10",
            "1e3",
            "120, 60",
            "\u{661}\u{662}",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Brumaire 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov 08:49:37 GMT",
            "Sun Nov 06 08:49 1994",
            "1994-11-06T08:49:37Z",
        ] {
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
