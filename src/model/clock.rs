//! Times of day, for those who compare what is said with other logs.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which time of day it was at a moment of the daemon's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The moment.
    pub at: Instant,
    /// The time since 1970 then.
    pub unix: Duration,
}

impl Clock {
    /// The time of day at `at`.
    pub fn moment(&self, at: Instant) -> Moment {
        let unix = match at.checked_duration_since(self.at) {
            Some(later) => self.unix.saturating_add(later),
            None => self.unix.saturating_sub(self.at.saturating_duration_since(at)),
        };
        Moment(unix.as_secs())
    }
}

/// A time of day, in seconds since 1970. It is written as in RFC 3339: `2026-11-27T13:28:44Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

const SECONDS_OF_DAY: u64 = 86_400;

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / SECONDS_OF_DAY, self.0 % SECONDS_OF_DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Moment {
    /// Understands what [`Moment`] is written as, and nothing else.
    pub fn parse(text: &str) -> Option<Moment> {
        let field = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
        let time = field(11..13)? * 3600 + field(14..16)? * 60 + field(17..19)?;
        let year = field(0..4).filter(|it| (1970..10_000).contains(it))?;
        let from = |year: u64| (year - 1970) * 365 + (year - 1969) / 4;
        // No further from the day than what leap years that are none make.
        let first = from(year).saturating_sub(30);
        let wanted = (year, field(5..7)?, field(8..10)?);
        let day = (first..first + 430).find(|it| date(*it) == wanted)?;
        let moment = Moment(day * SECONDS_OF_DAY + time);
        (moment.to_string() == text).then_some(moment)
    }
}

/// Year, month and day of the day that is so many after the first of 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the day that is sometimes missing is the last, and days from the
    // first of March of the year 0: 719,468 days before 1970. 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, from March on as from August on.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        Moment::parse(&text).ok_or_else(|| de::Error::custom("no time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_in_rfc_3339_and_understood_again() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_764_249_600, "2025-11-27T13:20:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
            assert_eq!(Moment::parse(text), Some(Moment(seconds)));
        }
        for bad in ["", "2024-02-30T00:00:00Z", "2024-02-29T00:00:00", "1969-12-31T23:59:59Z", "ä"]
        {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a clock needs some moment")]
    fn a_clock_tells_times_before_and_after_it_was_set() {
        let (at, second) = (Instant::now(), Duration::from_secs(1));
        let clock = Clock { at: at + second, unix: Duration::from_millis(10_500) };
        assert_eq!(clock.moment(at), Moment(9));
        assert_eq!(clock.moment(at + 3 * second), Moment(12));
    }
}
