//! Dates as HTTP writes them (RFC 9110 section 5.6.7): `Fri, 15 Jan 2027 08:01:30 GMT`.
//!
//! Only the preferred form, read and written. Pure; years 1970 to 9999. Next: [`super::stage`], whose `Retry-After` may be one.

const DAY_S: i64 = 86_400;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date of a second since 1970.
pub fn written(second: i64) -> String {
    let (day, clock) = (second.div_euclid(DAY_S), second.rem_euclid(DAY_S));
    let name = DAYS[usize::try_from(day.rem_euclid(7)).unwrap_or(0)];
    let (mut year, mut rest) = (1970, day.max(0));
    while rest >= days_of_year(year) {
        rest -= days_of_year(year);
        year += 1;
    }
    let mut month = 0;
    while rest >= days_of_month(year, month) {
        rest -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let month = MONTHS[month];
    format!("{name}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", rest + 1)
}

/// The second since 1970 of a date; `None` if it is none.
pub fn read(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, clock, "GMT"] = words[..] else { return None };
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    if !(1970..=9999).contains(&year) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let before: i64 = (1970..year).map(days_of_year).sum();
    let within: i64 = (0..month).map(|month| days_of_month(year, month)).sum();
    let clock: Vec<i64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
    let [hour, minute, second] = clock[..] else { return None };
    Some((before + within + day - 1) * DAY_S + hour * 3600 + minute * 60 + second)
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: i64, month: usize) -> i64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_as_the_standard_has_them() {
        let known = [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_800_000_090, "Fri, 15 Jan 2027 08:01:30 GMT"),
        ];
        for (second, text) in known {
            assert_eq!(written(second), text);
            assert_eq!(read(text), Some(second));
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in ["", "soon", "30", "Sun, 31 Feb 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
