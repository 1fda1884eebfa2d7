//! Dates in commands (RFC 3501 section 9): `1-Feb-2026`, and `"01-Feb-2026 10:00:00 +0100"` with time and zone.

use super::cursor::{Cursor, Read, bad};
use crate::protocol::imap::date::Date;

impl Cursor<'_> {
    /// A date without a time, with or without quotes.
    pub(super) fn date(&mut self) -> Read<Date> {
        let quoted = self.take(b'"');
        let date = self.day_month_year()?;
        if quoted {
            self.expect(b'"')?;
        }
        Ok(date)
    }

    fn day_month_year(&mut self) -> Read<Date> {
        self.take(b' ');
        let day = self.number()?;
        self.expect(b'-')?;
        let month = self.take_while(|byte| byte.is_ascii_alphabetic());
        self.expect(b'-')?;
        let year = self.number()?;
        let date = Date::month_by_name(month).and_then(|month| Date::new(year, month, day));
        date.map_or_else(|| bad("no such date"), Ok)
    }

    /// A date with time and zone, in quotes, as seconds since 1970.
    pub(super) fn date_time(&mut self) -> Read<i64> {
        self.expect(b'"')?;
        let date = self.day_month_year()?;
        self.space()?;
        let hour = self.number()?;
        self.expect(b':')?;
        let minute = self.number()?;
        self.expect(b':')?;
        let second = self.number()?;
        self.space()?;
        let east = match self.peek() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return bad("a zone is + or - and four digits"),
        };
        self.expect(if east == 1 { b'+' } else { b'-' })?;
        let zone = self.number()?;
        self.expect(b'"')?;
        if hour > 23 || minute > 59 || second > 60 || zone > 2400 || zone % 100 > 59 {
            return bad("no such time");
        }
        let zone_secs = east * (i64::from(zone / 100) * 3600 + i64::from(zone % 100) * 60);
        let time_secs = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Ok(date.days_since_1970() * 86_400 + time_secs - zone_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_time_are_counted_in_utc() {
        let time = |text: &str| Cursor::new(text.as_bytes()).date_time();
        assert_eq!(time("\"17-Jul-1996 02:44:25 -0700\"").unwrap(), 837_596_665);
        assert_eq!(time("\" 1-Jan-1970 01:00:00 +0100\"").unwrap(), 0);
        for bad in ["\"31-Feb-2020 00:00:00 +0000\"", "\"01-Jan-2020 24:00:00 +0000\"", "01-Jan-2020"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
