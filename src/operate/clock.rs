//! The date of a moment, for those who compare it with other logs.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// By the one that nobody sets.
    pub now: Instant,
    /// By the one that says the date.
    pub date: SystemTime,
}

impl Clock {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "commands show how long something lasts")]
    pub fn read() -> Clock {
        Clock { now: Instant::now(), date: SystemTime::now() }
    }

    /// The date of `at` as RFC 3339 has it, in UTC. `None` for what the calendar does not have.
    pub fn date_of(&self, at: Instant) -> Option<String> {
        let date = match self.now.checked_duration_since(at) {
            Some(ago) => self.date.checked_sub(ago)?,
            None => self.date.checked_add(at.duration_since(self.now))?,
        };
        let seconds = i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }
}

/// Year, month and day, so many days after the first of January 1970. Years are counted from the first of March here,
/// so that the leap day is the last of one, and in eras of 400 years, which are all as long.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Of months from March on, five have 153 days.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + i64::from(is_next_year), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_has_the_date_that_others_give_it() {
        let now = Clock::read().now;
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let date = UNIX_EPOCH + Duration::from_secs(seconds + 60);
            let clock = Clock { now: now + Duration::from_secs(60), date };
            assert_eq!(clock.date_of(now).as_deref(), Some(expected));
        }
    }
}
