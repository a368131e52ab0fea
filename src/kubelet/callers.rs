//! Which connections to a plugin are used, so that one which is not can give way to another.
//!
//! The gRPC core tells a call by the descriptor of its connection. It is noted when a call comes
//! in, on the core's own thread, and asked for by the thread `plugins`; nothing is called while the lock
//! is held.

use std::{
    collections::BTreeMap,
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of one plugin. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Callers(Arc<Mutex<State>>);

/// A stream that is open. Its connection is in use until this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    callers: Callers,
    /// `None` for a call of which the core does not say where it comes from.
    number: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each connection and each call.
    n_events: u64,
    /// By the number that each was given when it came.
    by_number: BTreeMap<u64, Caller>,
    /// What whoever has opened a stream last calls itself.
    client: Option<String>,
}

#[derive(Debug)]
struct Caller {
    /// What the core knows it by. It is another's later, when this one is gone.
    fd: RawFd,
    /// The event at which it last did something.
    last_event: u64,
    n_streams: usize,
}

impl Callers {
    /// A connection has come, which the core knows by `fd`. Gives a number that is its own for ever.
    pub(super) fn came(&self, fd: RawFd) -> u64 {
        let mut state = self.lock();
        let number = state.next_event();
        state.by_number.insert(number, Caller { fd, last_event: number, n_streams: 0 });
        number
    }

    /// A connection has gone.
    pub(super) fn gone(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }

    /// A call has come in from `peer`, which is what the core calls a connection.
    pub(super) fn called(&self, peer: &str) {
        self.lock().note(peer);
    }

    /// The same for a call that stays open.
    pub(super) fn opened(&self, peer: &str) -> OpenStream {
        let mut state = self.lock();
        let number = state.note(peer);
        if let Some(caller) = number.and_then(|it| state.by_number.get_mut(&it)) {
            caller.n_streams += 1;
        }
        drop(state);
        OpenStream { callers: self.clone(), number }
    }

    /// Whoever has opened a stream last calls itself so.
    pub(super) fn introduce(&self, client: Option<String>) {
        self.lock().client = client;
    }

    /// What whoever has opened a stream last calls itself.
    pub(super) fn client(&self) -> Option<String> {
        self.lock().client.clone()
    }

    /// The connection that has been silent for longest, and carries no stream.
    pub(super) fn most_silent(&self) -> Option<u64> {
        let state = self.lock();
        let silent = state.by_number.iter().filter(|(_, it)| it.n_streams == 0);
        silent.min_by_key(|(_, it)| it.last_event).map(|(number, _)| *number)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done where it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.callers.lock();
        let now = state.next_event();
        if let Some(caller) = self.number.and_then(|it| state.by_number.get_mut(&it)) {
            caller.n_streams -= 1;
            caller.last_event = now;
        }
    }
}

impl State {
    fn next_event(&mut self) -> u64 {
        self.n_events += 1;
        self.n_events
    }

    /// The number of the connection that has called.
    fn note(&mut self, peer: &str) -> Option<u64> {
        let now = self.next_event();
        let fd: RawFd = peer.strip_prefix("fd:")?.parse().ok()?;
        // The newest, if the end of an earlier one has not been noticed yet.
        let (number, caller) = self.by_number.iter_mut().rev().find(|(_, it)| it.fd == fd)?;
        caller.last_event = now;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_connection_gives_way_and_one_with_a_stream_never_does() {
        let callers = Callers::default();
        let [first, second, third] = [5, 6, 7].map(|it| callers.came(it));
        assert_eq!(callers.most_silent(), Some(first));
        callers.called("fd:5");
        assert_eq!(callers.most_silent(), Some(second));

        let streams = ["fd:5", "fd:6", "fd:7"].map(|it| callers.opened(it));
        assert_eq!(callers.most_silent(), None);
        drop(streams);
        assert_eq!(callers.most_silent(), Some(first), "in the order in which their streams ended");
        callers.gone(first);
        callers.gone(second);
        assert_eq!(callers.most_silent(), Some(third));
    }

    #[test]
    fn a_descriptor_that_is_used_again_is_another_connection() {
        let callers = Callers::default();
        let first = callers.came(5);
        let of_first = callers.opened("fd:5");
        let second = callers.came(5);
        let of_second = callers.opened("fd:5");
        callers.gone(first);
        drop(of_first);
        assert_eq!(callers.most_silent(), None);
        drop(of_second);
        assert_eq!(callers.most_silent(), Some(second));
        drop(callers.opened("unix:"));
        callers.called("fd:x");
    }
}
