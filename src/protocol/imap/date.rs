//! Calendar dates: of internal dates and of `Date:` headers, for SEARCH and INTERNALDATE.
//!
//! The arithmetic is the proleptic Gregorian calendar; years 1 to 9999.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A day that exists. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u32,
    month: u32,
    day: u32,
}

impl Date {
    /// The day, if it exists: year 1 to 9999, month 1 to 12.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let exists = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=last).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// 1 to 12 for the English short or long name of a month, in any case.
    pub fn month_by_name(name: &[u8]) -> Option<u32> {
        let short = name.get(..3)?;
        (1..).zip(MONTHS).find(|(_, known)| short.eq_ignore_ascii_case(known.as_bytes())).map(|(no, _)| no)
    }

    /// Days from 1970-01-01; negative before it.
    pub fn days_since_1970(self) -> i64 {
        // Years start in March, so that the leap day is the last of its year.
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let month = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
    }

    /// The UTC day of a moment given in seconds since 1970; moments outside the years 1 to 9999 are moved inside.
    pub fn of_unix(secs: u64) -> Self {
        // 9999-12-31.
        let days = i64::try_from(secs / 86_400).unwrap_or(i64::MAX).min(2_932_896) + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |number: i64| u32::try_from(number).unwrap_or(1);
        Self { year: small(year), month: small(month), day: small(day) }
    }

    /// The day as a `Date:` field (RFC 5322 section 3.3) writes it, its zone disregarded; old two-digit years are
    /// understood. `None` if there is no date to be found.
    pub fn of_header(value: &str) -> Option<Self> {
        let value = value.rsplit_once(',').map_or(value, |(_, rest)| rest);
        let mut words = value.split_ascii_whitespace();
        let day = words.next()?.parse().ok()?;
        let month = Self::month_by_name(words.next()?.as_bytes())?;
        let year = words.next()?;
        let year = match (year.len(), year.parse::<u32>().ok()?) {
            (..=2, year) if year < 50 => year + 2000,
            (..=3, year) => year + 1900,
            (_, year) => year,
        };
        Self::new(year, month, day)
    }
}

/// A moment as INTERNALDATE shows it, in UTC: `17-Jul-1996 02:44:25 +0000`, without quotes.
pub fn internal_date(secs: u64) -> String {
    let Date { year, month, day } = Date::of_unix(secs);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let month = MONTHS[(month as usize).clamp(1, 12) - 1];
    format!("{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (0..2_932_896).step_by(97).chain([0, 59, 60, 11_016, 2_932_895]) {
            let date = Date::of_unix(days * 86_400);
            assert_eq!(date.days_since_1970(), i64::try_from(days).unwrap(), "{date:?}");
            assert_eq!(Date::new(date.year, date.month, date.day), Some(date));
        }
        assert_eq!(Date::of_unix(u64::MAX), Date::new(9999, 12, 31).unwrap());
    }

    #[test]
    fn dates_are_shown_and_read() {
        assert_eq!(internal_date(837_596_665), "17-Jul-1996 09:44:25 +0000");
        let day = Date::new(2026, 2, 1);
        assert_eq!(Date::of_header("Sun, 1 Feb 2026 10:00:00 +0100 (CET)"), day);
        assert_eq!(Date::of_header("01 February 26 10:00"), day);
        assert_eq!(Date::of_header("Sat, 30 Feb 2026 10:00:00"), None);
        assert_eq!(Date::of_header("yesterday"), None);
    }
}
