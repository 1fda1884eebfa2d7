//! Time as the mail system counts it: whole seconds since 1970, UTC; and the date forms of mail.
//!
//! Promises that what it writes is valid RFC 5322 or RFC 3501, and that what it reads is range-checked. Where the
//! time comes from is the node's affair (`node::clock`); here it is only compared, written down and read.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::{Date, Month, OffsetDateTime};

const DAY_SECS: u64 = 86_400;
/// 9999-12-31T23:59:59Z, the last moment that a four-digit year can name.
const LAST_SECS: u64 = 253_402_300_799;
/// Longest date that is read, in bytes: a real one has about 40, comments included; the rest is an attack.
const DATE_LEN_MAX: usize = 256;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This time plus `span`, saturating.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// The same moment as the standard library has it.
    pub fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// This time with its seconds cut off: the precision that dates on the wire have.
    pub fn to_the_minute(self) -> Self {
        Self(self.0 - self.0 % 60)
    }

    /// This time with its minutes and seconds cut off: the precision that times in statements have.
    pub fn to_the_hour(self) -> Self {
        Self(self.0 - self.0 % 3600)
    }

    /// Days since 1970-01-01, in UTC.
    pub fn day(self) -> u64 {
        self.0 / DAY_SECS
    }

    /// The form of RFC 5322 section 3.3, in UTC: `Thu, 01 Jan 2026 10:20:30 +0000`.
    ///
    /// Moments after the year 9999 are written as its last second.
    pub fn rfc5322(self) -> String {
        let at = self.civil();
        let day = DAYS[usize::from(at.weekday().number_days_from_monday())];
        let month = MONTHS[usize::from(u8::from(at.month())) - 1];
        let (date, year) = (at.day(), at.year());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        format!("{day}, {date:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
    }

    /// The form of IMAP's INTERNALDATE (RFC 3501, `date-time`), in UTC and without the quotation marks:
    /// `01-Jan-2026 10:20:30 +0000`.
    pub fn internal_date(self) -> String {
        let at = self.civil();
        let month = MONTHS[usize::from(u8::from(at.month())) - 1];
        let (date, year) = (at.day(), at.year());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        format!("{date:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} +0000")
    }

    fn civil(self) -> OffsetDateTime {
        let secs = i64::try_from(self.0.min(LAST_SECS)).expect("the year 9999 fits");
        OffsetDateTime::from_unix_timestamp(secs).expect("between 1970 and 9999")
    }
}

impl From<SystemTime> for UnixTime {
    /// A time before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs()))
    }
}

/// A date as a letter's header states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderDate {
    /// The moment meant, time zone taken into account.
    pub moment: UnixTime,
    /// The day as written, as days since 1970-01-01, time and zone disregarded: what IMAP's SENTBEFORE, SENTON and
    /// SENTSINCE compare (RFC 3501 section 6.4.4).
    pub day: u64,
}

/// Reads the value of a `Date` field, leniently: RFC 5322 with its obsolete forms (comments, short years, named
/// zones), and the order of C's `asctime`.
///
/// A missing or unknown zone is UTC (section 4.3). `None` for what names no moment between 1970 and 9999.
pub fn parse_date(value: &[u8]) -> Option<HeaderDate> {
    if value.len() > DATE_LEN_MAX {
        return None;
    }
    let text = without_comments(std::str::from_utf8(value).ok()?)?;
    let mut words: Vec<&str> =
        text.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty()).collect();
    if words.first().is_some_and(|word| DAYS.iter().any(|day| starts_with(word, day))) {
        words.remove(0);
    }
    let (day, month, year, clock, zone) = match words[..] {
        [month, day, clock, year] if month_number(month).is_some() => (day, month, year, clock, None),
        [month, day, clock, zone, year] if month_number(month).is_some() => {
            (day, month, year, clock, Some(zone))
        }
        [day, month, year, clock] => (day, month, year, clock, None),
        [day, month, year, clock, zone, ..] => (day, month, year, clock, Some(zone)),
        _ => return None,
    };
    let date =
        Date::from_calendar_date(full_year(year)?, month_number(month)?, digits(day, 2)?.try_into().ok()?);
    let day =
        u64::try_from((date.ok()? - Date::from_calendar_date(1970, Month::January, 1).ok()?).whole_days());
    let local = day.ok()? * DAY_SECS + u64::from(clock_secs(clock)?);
    let moment = local.checked_add_signed(-zone.map_or(Some(0), zone_secs)?)?;
    (moment <= LAST_SECS).then_some(HeaderDate { moment: UnixTime(moment), day: day.ok()? })
}

/// Reads a day as people type it, `2026-01-31`, or a minute of it, `2026-01-31 14:05` (a `T` between does too); UTC.
pub fn parse_moment(text: &str) -> Option<UnixTime> {
    let (day, clock) = match text.trim().split_once([' ', 'T']) {
        Some((day, clock)) => (day, clock.strip_suffix('Z').unwrap_or(clock)),
        None => (text.trim(), "00:00"),
    };
    let mut parts = day.split('-');
    let (year, month, date) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let number = |word: &str, len| digits(word, len).and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(number(month, 2)?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(digits(year, 4)?).ok()?, month, number(date, 2)?).ok()?;
    let secs = date.midnight().assume_utc().unix_timestamp();
    Some(UnixTime(u64::try_from(secs).ok()? + u64::from(clock_secs(clock)?)))
}

/// Cuts out comments, which nest; `None` if one does not end.
fn without_comments(text: &str) -> Option<String> {
    let (mut kept, mut depth, mut escaped) = (String::with_capacity(text.len()), 0usize, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if depth > 0 => escaped = true,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    (depth == 0).then_some(kept)
}

fn starts_with(word: &str, name: &str) -> bool {
    word.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'.')
}

fn month_number(word: &str) -> Option<Month> {
    let at = MONTHS.iter().position(|name| starts_with(word, name))?;
    Month::try_from(u8::try_from(at + 1).ok()?).ok()
}

/// A number of at most `len_max` decimal digits, and nothing else.
fn digits(word: &str, len_max: usize) -> Option<u32> {
    let plain = !word.is_empty() && word.len() <= len_max && word.bytes().all(|byte| byte.is_ascii_digit());
    if plain { word.parse().ok() } else { None }
}

/// RFC 5322 section 4.3: two digits are 1950 to 2049, three count from 1900.
fn full_year(word: &str) -> Option<i32> {
    let year = i32::try_from(digits(word, 4)?).ok()?;
    Some(match (word.len(), year) {
        (2, 0..=49) => year + 2000,
        (2 | 3, _) => year + 1900,
        _ => year,
    })
}

/// Seconds since midnight of `hh:mm` or `hh:mm:ss`; a leap second counts as the second before it.
fn clock_secs(word: &str) -> Option<u32> {
    let mut parts = word.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    let sound = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    sound.then_some(hour * 3600 + minute * 60 + second.min(59))
}

/// Seconds east of Greenwich of `+hhmm` or a zone's name (RFC 5322 section 4.3).
fn zone_secs(word: &str) -> Option<i64> {
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        first if first.is_ascii_alphabetic() => return Some(named_zone_hours(word) * 3600),
        _ => return None,
    };
    let number = word[1..].replace(':', "");
    let number = if number.len() == 4 { i64::from(digits(&number, 4)?) } else { return None };
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn named_zone_hours(word: &str) -> i64 {
    match word.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(text: &str) -> Option<u64> {
        parse_date(text.as_bytes()).map(|date| date.moment.0)
    }

    #[test]
    fn dates_are_written_as_the_rfcs_say() {
        let time = UnixTime(1_767_262_830);
        assert_eq!(time.rfc5322(), "Thu, 01 Jan 2026 10:20:30 +0000");
        assert_eq!(time.internal_date(), "01-Jan-2026 10:20:30 +0000");
        assert_eq!(time.to_the_minute().rfc5322(), "Thu, 01 Jan 2026 10:20:00 +0000");
        assert_eq!(UnixTime(u64::MAX).rfc5322(), "Fri, 31 Dec 9999 23:59:59 +0000");
        assert_eq!(UnixTime(0).rfc5322(), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn a_moment_is_read_as_people_type_it() {
        let day = UnixTime(1_769_817_600);
        for text in ["2026-01-31", " 2026-01-31 00:00", "2026-01-31T00:00Z", "2026-01-31 00:00:00"] {
            assert_eq!(parse_moment(text), Some(day), "{text}");
        }
        assert_eq!(parse_moment("2026-01-31 14:05"), Some(UnixTime(day.0 + 50_700)));
        for text in ["", "2026", "2026-02-30", "31.1.2026", "1900-01-01", "2026-01-31-1", "2026-01-31 25:00"]
        {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }

    #[test]
    fn one_moment_is_read_from_all_its_forms() {
        for text in [
            "Thu, 01 Jan 2026 10:20:30 +0000",
            "1 jan 2026 10:20:30 GMT",
            "Thu, 1 Jan 26 12:20:30 +0200",
            "Thu, 01 Jan 2026 05:20:30 EST",
            "Thu, 01 Jan 2026 05:20:30 -0500 (EST (yes))",
            "Thu Jan  1 10:20:30 2026",
            "Thu Jan 1 10:20:30 UTC 2026",
            "Thursday, 1 January 126 10:20:30",
            " Thu,\r\n\t01 Jan 2026 10:20:30\r\n +0000",
            "Fri, 2 Jan 2026 00:20:30 +14:00",
            "Thu, 01 Jan 2026 10:20:30 XYZ",
        ] {
            assert_eq!(moment(text), Some(1_767_262_830), "{text}");
        }
        assert_eq!(moment("31 Dec 2025 23:59:60 +0000"), Some(1_767_225_599));
    }

    #[test]
    fn the_day_is_the_one_written_whatever_the_zone() {
        let date = parse_date(b"Fri, 2 Jan 2026 00:20:00 +1400").unwrap();
        assert_eq!((date.day, date.moment.day()), (20_455, 20_454));
    }

    #[test]
    fn what_names_no_moment_is_none() {
        for text in [
            "",
            "yesterday",
            "32 Jan 2026 10:20:30 +0000",
            "29 Feb 2025 10:20:30 +0000",
            "1 Jan 2026 24:00:00 +0000",
            "1 Jan 2026 10:60 +0000",
            "1 Jan 2026 10:20:61 +0000",
            "1 Jan 20260 10:20:30 +0000",
            "1 Jan 2026 10:20:30 +9999",
            "1 Jan 2026 10:20:30 ++00",
            "31 Dec 1969 23:00:00 +0000",
            "1 Jan 1970 00:00:00 +0100",
            "1 Jan 2026 10:20:30 (open",
            "1 Jun 2026",
            "1 Jan 2026 10:20:30:40 +0000",
            "1 Jan 2026 10:20 +1\u{e9}2",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
        assert_eq!(moment(&format!("1 Jan 2026 10:20:30 +0000 ({})", "x".repeat(300))), None);
    }

    proptest! {
        #[test]
        fn any_moment_is_answered_without_panic(text in "[0-9TZ: -]{0,24}") {
            let _ = parse_moment(&text);
        }

        #[test]
        fn what_is_written_reads_back(secs in 0..=LAST_SECS) {
            prop_assert_eq!(moment(&UnixTime(secs).rfc5322()), Some(secs));
        }

        #[test]
        fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_date(&bytes);
        }

        #[test]
        fn any_near_date_is_answered_in_range(text in "[0-9a-zA-Z:+(), -]{0,40}") {
            if let Some(date) = parse_date(text.as_bytes()) {
                prop_assert!(date.moment.0 <= LAST_SECS);
            }
        }
    }
}
