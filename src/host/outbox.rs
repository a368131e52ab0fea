//! Events on their way to the main thread, for threads that must not wait for it.
//!
//! The main thread joins these threads, so they may not wait for room in its inbox: both would wait
//! for ever. What does not fit stays here, and is tried again after a moment.

use std::{collections::VecDeque, time::Duration};

use crossbeam_channel::{Sender, TrySendError};

use crate::{host::deadline::Deadline, model::event::Event};

/// When to try again. The inbox holds many events, so it is full only when the main thread is far
/// behind; a hundred attempts a second do not make that worse.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

/// Events that are sent as soon as there is room, in order.
///
/// Its owner bounds it, by adding nothing that can be said later while something waits here.
#[derive(Debug)]
pub(crate) struct Outbox {
    events: Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    pub(crate) fn new(events: Sender<Event>) -> Outbox {
        Outbox { events, waiting: VecDeque::new() }
    }

    /// Sends `event` now, or after those that wait.
    pub(crate) fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                // The daemon is going down, and will soon stop this thread.
                Err(TrySendError::Disconnected(_)) => self.waiting.clear(),
            }
        }
    }

    /// Whether everything has been sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When to call [`Outbox::flush`], at the latest.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        (!self.is_empty()).then(|| Deadline::after(RETRY))
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn what_does_not_fit_is_sent_later_and_in_order() {
        let (sender, inbox) = bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.push(Event::Tick);
        outbox.push(Event::KubeletGone);
        outbox.push(Event::Terminate);
        assert!(outbox.deadline().is_some());

        assert!(matches!(inbox.try_recv(), Ok(Event::Tick)));
        outbox.flush();
        assert!(matches!(inbox.try_recv(), Ok(Event::KubeletGone)));
        outbox.flush();
        assert!(matches!(inbox.try_recv(), Ok(Event::Terminate)));
        assert!(outbox.is_empty() && outbox.deadline().is_none());
    }

    #[test]
    fn nothing_waits_for_an_inbox_that_is_gone() {
        let (sender, inbox) = bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.push(Event::Tick);
        outbox.push(Event::Tick);

        drop(inbox);
        outbox.flush();

        assert!(outbox.is_empty());
    }
}
