//! Until when a thread waits in `poll`.
//!
//! This is for threads that block. What decides anything takes `now` as an argument instead.

#![expect(clippy::disallowed_methods, reason = "a wait that may be interrupted needs the clock")]

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

/// A moment until which a thread waits, however often it is woken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment that is `duration` from now.
    pub fn after(duration: Duration) -> Deadline {
        Deadline(Instant::now() + duration)
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self.0 <= Instant::now()
    }

    /// How long there is until then.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits until then.
    pub fn wait(self) {
        while !self.has_passed() {
            _ = poll(&mut [], Deadline::timeout(Some(self)));
        }
    }

    /// The earlier of two deadlines that may not exist.
    pub fn earlier(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// What `poll` must be told so that it returns then; for ever if there is no deadline.
    pub fn timeout(until: Option<Deadline>) -> PollTimeout {
        let Some(Deadline(until)) = until else { return PollTimeout::NONE };
        // Rounded up, or the last fraction of a millisecond would be spent turning in circles.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_asked() {
        let past = Deadline::after(Duration::ZERO);
        assert!(past.has_passed());
        assert_eq!(Deadline::timeout(Some(past)), PollTimeout::ZERO);

        let soon = Deadline::after(Duration::from_secs(100));
        assert!(!soon.has_passed());
        assert!(Deadline::timeout(Some(soon)).as_millis().unwrap() > 90_000);
        assert_eq!(Deadline::timeout(None), PollTimeout::NONE);

        assert_eq!(Deadline::earlier(Some(soon), Some(past)), Some(past));
        assert_eq!(Deadline::earlier(None, Some(soon)), Some(soon));
    }
}
