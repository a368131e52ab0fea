//! What must be known before the first scan: what is cordoned, and what the process before us has left.
//!
//! Threads read it, because a read of the state directory may be blocked for ever.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::model::{event::Event, state::Remembered};

/// How long it may take without a word. What works takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has been heard of it.
#[derive(Debug)]
pub(super) struct Opening {
    state_dir: PathBuf,
    knows_cordons: bool,
    remembered: Option<Remembered>,
    /// When to say that it takes long. `None` once that was said, or all is known.
    complain_at: Option<Instant>,
}

impl Opening {
    pub(super) fn new(state_dir: &Path, now: Instant) -> Opening {
        Opening {
            state_dir: state_dir.to_owned(),
            knows_cordons: false,
            remembered: None,
            complain_at: Some(now + PATIENCE),
        }
    }

    /// When to call [`Opening::tick`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.complain_at
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.complain_at.take_if(|it| *it <= now).is_some() {
            log::error!(
                "directory={} a read of what is cordoned and remembered is blocked; until it ends, nothing is \
                 scanned or offered",
                self.state_dir.display()
            );
        }
    }

    /// Takes note of what `event` tells. Gives what is remembered once all is known, and only then.
    pub(super) fn heard(&mut self, event: &Event) -> Option<Remembered> {
        self.knows_cordons |= matches!(event, Event::Cordons(_));
        if let Event::Remembered(remembered) = event {
            self.remembered = Some(remembered.clone());
        }
        let remembered = self.remembered.take_if(|_| self.knows_cordons)?;
        self.complain_at = None;
        Some(remembered)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a story begins at some moment")]
mod tests {
    use super::*;

    #[test]
    fn the_first_scan_waits_for_both_in_any_order_and_is_asked_for_once() {
        let now = Instant::now();
        let (cordons, left) =
            (Event::Cordons(Vec::new()), Event::Remembered(Remembered::default()));
        for (first, second) in [(&cordons, &left), (&left, &cordons)] {
            let mut opening = Opening::new(Path::new("/s"), now);
            assert!(opening.heard(first).is_none());
            assert!(opening.heard(&Event::Tick).is_none());
            assert_eq!(opening.deadline(), Some(now + PATIENCE));
            assert!(opening.heard(second).is_some());
            assert!(opening.heard(&cordons).is_none());
            assert_eq!(opening.deadline(), None);
        }
        let mut opening = Opening::new(Path::new("/s"), now);
        opening.tick(now + PATIENCE);
        assert_eq!(opening.deadline(), None, "it is said once");
    }
}
