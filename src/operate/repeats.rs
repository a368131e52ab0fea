//! Lines of the log that come too often: they are counted instead of written.
//!
//! Whoever can make us say something can make us say it ten thousand times a second. A statement of the
//! program may say so much about one thing; then it is silent until some time has passed, and how
//! much it would have said is written with the next line of any kind.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use log::Level;

/// How many lines a statement may write about one thing within [`WINDOW`]. All mistakes of a
/// configuration are 101, and so are the lines about as many resources.
const LINES_MAX: usize = 200;

/// How long it is silent afterwards, at most.
const WINDOW: Duration = Duration::from_secs(10);

/// How many things are remembered. They come and go with resources and devices.
const THINGS_MAX: usize = 4096;

/// A statement of the program, by its file and line, and what it speaks of, by a hash.
pub(super) type Thing = (Option<&'static str>, Option<u32>, u64);

/// What has been said, and how often.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    by_thing: HashMap<Thing, Said>,
}

#[derive(Debug)]
struct Said {
    level: Level,
    end: Instant,
    n_lines: usize,
    // The first line that was not written.
    example: String,
}

impl Repeats {
    /// Whether a line is written. `text` is called only where it is not.
    pub(super) fn admits(
        &mut self,
        thing: Thing,
        level: Level,
        now: Instant,
        text: impl FnOnce() -> String,
    ) -> bool {
        if self.by_thing.len() >= THINGS_MAX && !self.by_thing.contains_key(&thing) {
            return true;
        }
        let end = now + WINDOW;
        let new = Said { level, end, n_lines: 0, example: String::new() };
        let said = self.by_thing.entry(thing).or_insert(new);
        said.n_lines += 1;
        if said.n_lines == LINES_MAX + 1 {
            said.example = text();
        }
        said.n_lines <= LINES_MAX
    }

    /// What is to be said of lines that were not written, and whose time is over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Level, String)> {
        let mut due = Vec::new();
        self.by_thing.retain(|_, said| {
            if now < said.end {
                return true;
            }
            let n_more = said.n_lines.saturating_sub(LINES_MAX);
            if n_more > 0 {
                let seconds = WINDOW.as_secs();
                let text = format!("{} ({n_more} more like this within {seconds} s)", said.example);
                due.push((said.level, text));
            }
            false
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THING: Thing = (Some("a.rs"), Some(1), 7);

    fn say(repeats: &mut Repeats, thing: Thing, now: Instant) -> bool {
        repeats.admits(thing, Level::Warn, now, || "socket=a is closed".to_owned())
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some moment is needed")]
    fn what_is_said_too_often_is_counted_and_the_count_said_when_its_time_is_over() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let n_written = (0..512).filter(|_| say(&mut repeats, THING, start)).count();
        assert_eq!(n_written, 200);
        assert!(say(&mut repeats, (Some("a.rs"), Some(2), 7), start), "another statement");
        assert!(say(&mut repeats, (Some("a.rs"), Some(1), 8), start), "about something else");
        assert_eq!(repeats.due(start + WINDOW / 2), []);
        assert!(!say(&mut repeats, THING, start + WINDOW / 2));

        let text = "socket=a is closed (313 more like this within 10 s)".to_owned();
        assert_eq!(repeats.due(start + WINDOW), [(Level::Warn, text)]);
        assert_eq!(repeats.due(start + WINDOW * 9), []);
        assert!(say(&mut repeats, THING, start + WINDOW));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some moment is needed")]
    fn however_much_is_spoken_of_little_is_remembered_and_what_is_new_is_said() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for n in 0..10_000 {
            assert!(say(&mut repeats, (None, None, n), start));
        }
        assert_eq!(repeats.by_thing.len(), THINGS_MAX);
        repeats.due(start + WINDOW);
        assert!(repeats.by_thing.is_empty());
    }
}
