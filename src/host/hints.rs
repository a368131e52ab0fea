//! Hints on their way to the main thread.
//!
//! Equal hints are sent once as long as the first of them waits here: the scan that it causes begins after
//! both have happened. What waits is bounded; where it does not fit, one hint says that it may be
//! anything.

use std::collections::{BTreeSet, VecDeque};

use crossbeam_channel::{Sender, TrySendError};

use crate::{
    host::{deadline::Deadline, outbox},
    model::event::{Event, Hint},
};

/// How many hints wait here. A burst of more, such as `udevadm trigger` makes, is about everything.
const WAITING_MAX: usize = 256;

/// Hints that are sent as soon as there is room.
#[derive(Debug)]
pub(crate) struct Hints {
    events: Sender<Event>,
    waiting: VecDeque<Hint>,
    // The same, to find doubles.
    known: BTreeSet<Hint>,
}

impl Hints {
    pub(crate) fn new(events: Sender<Event>) -> Hints {
        Hints { events, waiting: VecDeque::new(), known: BTreeSet::new() }
    }

    /// Adds a hint. It is sent by [`Hints::flush`], so that a burst is read to its end before.
    pub(crate) fn add(&mut self, hint: Hint) {
        if self.known.contains(&Hint::Everything) {
            return;
        }
        let is_everything = hint == Hint::Everything || self.waiting.len() >= WAITING_MAX;
        if is_everything {
            self.waiting.clear();
            self.known.clear();
        }
        let hint = if is_everything { Hint::Everything } else { hint };
        if self.known.insert(hint.clone()) {
            self.waiting.push_back(hint);
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(hint) = self.waiting.pop_front() {
            match self.events.try_send(Event::Hinted(hint.clone())) {
                Ok(()) => _ = self.known.remove(&hint),
                Err(TrySendError::Full(_)) => {
                    self.waiting.push_front(hint);
                    return;
                }
                // The daemon is going down, and will soon stop this thread.
                Err(TrySendError::Disconnected(_)) => {
                    self.waiting.clear();
                    self.known.clear();
                }
            }
        }
    }

    /// When to call [`Hints::flush`], at the latest.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        (!self.waiting.is_empty()).then(|| Deadline::after(outbox::RETRY))
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    fn directory(n: usize) -> Hint {
        Hint::Directory(format!("/dev/{n}"))
    }

    #[test]
    fn equal_hints_are_sent_once_as_long_as_the_first_waits() {
        let (sender, inbox) = bounded(1);
        let mut hints = Hints::new(sender);
        for n in [1, 2, 1, 2] {
            hints.add(directory(n));
        }
        hints.flush();
        hints.add(directory(1));
        hints.add(directory(2));
        assert!(hints.deadline().is_some());

        let mut sent = Vec::new();
        while let Ok(Event::Hinted(hint)) = inbox.try_recv() {
            sent.push(hint);
            hints.flush();
        }
        assert_eq!(sent, [directory(1), directory(2), directory(1)]);
        assert!(hints.deadline().is_none());
    }

    #[test]
    fn what_does_not_fit_becomes_a_hint_at_everything() {
        let (sender, inbox) = bounded(10);
        let mut hints = Hints::new(sender);
        for n in 0..1000 {
            hints.add(directory(n));
        }
        hints.flush();

        assert!(matches!(inbox.try_recv(), Ok(Event::Hinted(Hint::Everything))));
        assert!(inbox.try_recv().is_err());
        hints.add(directory(1));
        hints.flush();
        assert!(matches!(inbox.try_recv(), Ok(Event::Hinted(Hint::Directory(_)))));
    }
}
