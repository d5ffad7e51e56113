//! Times as storage systems write them, as milliseconds since 1970-01-01 UTC.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026-11-23T13:05:31[.123][Z|+01:00]`, seconds and zone optional. `None` for anything else, and for times before 1970.
pub fn iso8601(text: &str) -> Option<u64> {
    let (date, rest) = text.trim().split_once(['T', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    let end = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let at = moment(year, month, day, clock)?.checked_add(number(&millis)?)?;
    let offset = match zone {
        "" | "Z" => return u64::try_from(at).ok().filter(|_| date.next().is_none()),
        _ => clock_seconds(&zone[1..])? * 1000,
    };
    u64::try_from(if zone.starts_with('+') { at - offset } else { at + offset }).ok()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as in `Date` and `Retry-After`. `None` for anything else.
pub fn http_date(text: &str) -> Option<u64> {
    let mut words = text.trim().strip_suffix(" GMT")?.split(", ").nth(1)?.split(' ');
    let day = number(words.next()?)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let at = moment(number(words.next()?)?, month, day, words.next()?)?;
    u64::try_from(at).ok().filter(|_| words.next().is_none())
}

fn moment(year: i64, month: i64, day: i64, clock: &str) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is their last; eras of 400 years have 146,097 days.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + clock_seconds(clock)?) * 1000)
}

/// `hh:mm[:ss]`
fn clock_seconds(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let seconds = parts.next().map_or(Some(0), number)?;
    let sane = hours < 24 && minutes < 60 && seconds <= 60 && parts.next().is_none();
    sane.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// Digits only.
fn number(text: &str) -> Option<i64> {
    (text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        // `date -u -d TEXT +%s`
        assert_eq!(iso8601("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(iso8601("2026-11-23T13:05:31.120Z"), Some(1_795_439_131_120));
        assert_eq!(iso8601("2026-11-23T13:05:31"), Some(1_795_439_131_000));
        assert_eq!(iso8601("2026-11-23 14:05:31+01:00"), Some(1_795_439_131_000));
        assert_eq!(iso8601("2024-02-29T23:59:59.9999999Z"), Some(1_709_251_199_999));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
    }

    #[test]
    fn other_texts_are_no_times() {
        let texts = ["", "now", "2026-11-23", "YYYY-MM-DDTHH:MM:SS.000Z", "2026-13-01T00:00:00Z", "2026-1-1T25:00:00Z"];
        for text in texts.into_iter().chain(["1969-12-31T23:59:59Z", "2026-11-23T1:2:3:4Z", "2026-11-23-1T10:00:00Z"]) {
            assert_eq!(iso8601(text), None, "{text}");
        }
        for text in ["", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
