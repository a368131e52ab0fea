//! Numbered bells that one thread waits for in `poll`, and others ring.
//!
//! They carry no message, as [`Wake`] does not: what happened is found where it was put before the bell was rung. All of
//! them share one descriptor, and whoever waits is told which were rung. Any thread may ring, also from a gRPC
//! handler or a future; the numbers are kept behind a lock, during which nothing is called.

use std::{
    collections::BTreeSet,
    io, mem,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task,
};

use crate::host::wake::Wake;

/// All bells of one thread.
#[derive(Debug, Clone)]
pub struct Bells(Arc<Board>);

/// One bell. Clones ring the same one.
#[derive(Debug, Clone)]
pub struct Bell(Arc<Rope>);

#[derive(Debug)]
struct Board {
    wake: Wake,
    rung: Mutex<BTreeSet<u64>>,
}

#[derive(Debug)]
struct Rope {
    board: Arc<Board>,
    number: u64,
}

impl Bells {
    /// Bells that are silent.
    pub fn new() -> io::Result<Bells> {
        Ok(Bells(Arc::new(Board { wake: Wake::new()?, rung: Mutex::default() })))
    }

    /// The bell with this number.
    pub fn bell(&self, number: u64) -> Bell {
        Bell(Arc::new(Rope { board: Arc::clone(&self.0), number }))
    }

    /// The numbers of those that were rung since this was called last. To be called before checking what there is
    /// to do, or a ring in between would be lost.
    pub fn rung(&self) -> BTreeSet<u64> {
        self.0.wake.drain();
        mem::take(&mut self.0.lock())
    }
}

impl AsFd for Bells {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

impl Bell {
    /// Rings. Never waits.
    pub fn ring(&self) {
        self.0.ring();
    }

    /// The bell, for a future to ring.
    pub fn waker(&self) -> task::Waker {
        task::Waker::from(Arc::clone(&self.0))
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // Nothing is left half done where it could panic.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rope {
    fn ring(&self) {
        let is_first = {
            let mut rung = self.board.lock();
            let is_first = rung.is_empty();
            rung.insert(self.number);
            is_first
        };
        // Whoever rang first has woken the thread, or is about to.
        if is_first {
            self.board.wake.wake();
        }
    }
}

impl task::Wake for Rope {
    fn wake(self: Arc<Rope>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Rope>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wakes(bells: &Bells) -> bool {
        let mut fds = [PollFd::new(bells.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn whoever_waits_is_woken_once_and_told_of_each_bell_that_was_rung() {
        let bells = Bells::new().unwrap();
        let (first, second) = (bells.bell(1), bells.bell(2));
        assert!(!wakes(&bells) && bells.rung().is_empty());

        first.ring();
        second.waker().wake();
        second.clone().ring();
        assert!(wakes(&bells));

        assert_eq!(bells.rung(), BTreeSet::from([1, 2]));
        assert!(!wakes(&bells) && bells.rung().is_empty());
        first.waker().wake_by_ref();
        assert!(wakes(&bells));
    }
}
