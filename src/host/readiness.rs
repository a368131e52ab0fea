//! Waiting for many descriptors of several owners at once.
//!
//! Each descriptor is watched for an owner, who has a number; whoever waits is told which owners have something to do,
//! and they find out by themselves what. A wait costs as much as there is to do, however many descriptors there
//! are (epoll(7)).

use std::{collections::BTreeSet, io, ops::Deref, os::fd::AsFd, sync::Arc};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
};

use crate::host::deadline::Deadline;

/// How many descriptors one wait tells of. Those that found no room are told of by the next: the kernel
/// goes around.
const EVENTS_MAX: usize = 64;

/// What is waited for. Clones are of the same.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Epoll>);

/// What an owner wants to know of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// That there is something to read, or to accept; and that it has ended.
    Input,
    /// Only that it has ended.
    End,
}

/// Something with a descriptor that is watched until this is dropped.
///
/// It is never closed while it is watched: if a duplicate stayed open, the kernel would go on telling of a descriptor that
/// nobody has.
#[derive(Debug)]
pub struct Watched<T: AsFd> {
    it: T,
    owner: u64,
    readiness: Readiness,
}

impl Readiness {
    /// Nothing is watched yet.
    pub fn new() -> io::Result<Readiness> {
        Ok(Readiness(Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)))
    }

    /// Watches `it` for `owner`.
    pub fn watch<T: AsFd>(&self, it: T, interest: Interest, owner: u64) -> io::Result<Watched<T>> {
        self.0.add(&it, event(interest, owner))?;
        Ok(Watched { it, owner, readiness: self.clone() })
    }

    /// Waits until some owners have something to do, or the time is over, and gives those owners.
    pub fn wait(&self, until: Option<Deadline>) -> io::Result<BTreeSet<u64>> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        match self.0.wait(&mut events, Deadline::timeout(until)) {
            Ok(n_events) => Ok(events.iter().take(n_events).map(EpollEvent::data).collect()),
            Err(Errno::EINTR) => Ok(BTreeSet::new()),
            Err(err) => Err(err.into()),
        }
    }
}

impl<T: AsFd> Watched<T> {
    /// From now on the owner wants to know this.
    pub fn set(&self, interest: Interest) -> io::Result<()> {
        Ok(self.readiness.0.modify(&self.it, &mut event(interest, self.owner))?)
    }
}

impl<T: AsFd> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        // It is watched, so this cannot fail.
        _ = self.readiness.0.delete(&self.it);
    }
}

fn event(interest: Interest, owner: u64) -> EpollEvent {
    // An end and an error are told of in any case.
    let flags = match interest {
        Interest::Input => EpollFlags::EPOLLIN,
        Interest::End => EpollFlags::empty(),
    };
    EpollEvent::new(flags, owner)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream};

    use super::*;

    fn ready(readiness: &Readiness) -> Vec<u64> {
        let now = Some(Deadline::after(std::time::Duration::ZERO));
        readiness.wait(now).unwrap().into_iter().collect()
    }

    #[test]
    fn owners_are_told_of_what_they_want_to_know_only() {
        let readiness = Readiness::new().unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        let other = readiness.watch(other, Interest::End, 7).unwrap();
        one.write_all(b"x").unwrap();
        assert!(ready(&readiness).is_empty());
        other.set(Interest::Input).unwrap();
        assert_eq!(ready(&readiness), [7]);
        other.set(Interest::End).unwrap();
        assert!(ready(&readiness).is_empty());
        drop(one);
        assert_eq!(ready(&readiness), [7]);
    }

    #[test]
    fn what_is_dropped_is_told_of_no_more_although_a_duplicate_is_open() {
        let readiness = Readiness::new().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let duplicate = other.try_clone().unwrap();
        drop(readiness.watch(other, Interest::End, 7).unwrap());
        drop(one);
        assert!(ready(&readiness).is_empty());
        // Most likely this has the number of the one that was dropped.
        let (third, _fourth) = UnixStream::pair().unwrap();
        let _third = readiness.watch(third, Interest::Input, 8).unwrap();
        assert!(ready(&readiness).is_empty());
        drop(duplicate);
    }

    #[test]
    fn whoever_finds_no_room_in_one_answer_is_in_a_later_one() {
        let readiness = Readiness::new().unwrap();
        let owners = 0..EVENTS_MAX as u64 * 2;
        let _watched: Vec<_> = owners
            .clone()
            .map(|it| readiness.watch(UnixStream::pair().unwrap().0, Interest::End, it).unwrap())
            .collect();
        let told: BTreeSet<u64> = (0..4).flat_map(|_| ready(&readiness)).collect();
        assert!(told.into_iter().eq(owners));
    }
}
