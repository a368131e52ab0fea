//! A mailbox with room for one: the newest value, for readers that may be slow.
//!
//! It is no queue. A reader that falls behind goes straight to the newest value, and a writer never
//! waits. Threads share it behind a lock, as they do `callers` and `promise` and nothing else;
//! nothing is called while the lock is held, so any thread may use it.
//!
//! Readers that exist can be ended while later ones begin anew: our streams must end before we
//! register again, and the kubelet's next stream must not.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;

/// The writer's end. Dropping it ends every [`Reader`].
#[derive(Debug)]
pub struct Mailbox<T>(Arc<Mutex<State<T>>>);

/// Where readers come from. Clones are of the same mailbox.
#[derive(Debug)]
pub struct Readers<T>(Arc<Mutex<State<T>>>);

/// A reader: a stream of ever newer values, beginning with the newest there is.
#[derive(Debug)]
pub struct Reader<T> {
    state: Arc<Mutex<State<T>>>,
    /// Tells its waker from those of other readers.
    number: u64,
    /// The era it belongs to; it has ended when another has begun.
    era: u64,
    /// The generation it has read.
    seen: u64,
}

#[derive(Debug)]
struct State<T> {
    value: Arc<T>,
    /// Grows with each value; the first is 1.
    generation: u64,
    /// Grows each time the readers are ended.
    era: u64,
    /// The writer is gone.
    closed: bool,
    /// How many readers there are of this era.
    n_open: usize,
    /// How many readers there have ever been.
    n_ever: u64,
    /// Those who wait, by the reader's number. A reader that is dropped takes its waker along: each
    /// holds a whole call of the gRPC core.
    wakers: Vec<(u64, Waker)>,
}

impl<T> Mailbox<T> {
    /// Begins with `value`.
    pub fn new(value: Arc<T>) -> Mailbox<T> {
        Mailbox(Arc::new(Mutex::new(State {
            value,
            generation: 1,
            era: 0,
            closed: false,
            n_open: 0,
            n_ever: 0,
            wakers: Vec::new(),
        })))
    }

    /// Replaces the value and wakes the readers.
    pub fn publish(&self, value: Arc<T>) {
        let (old, wakers) = {
            let mut state = lock(&self.0);
            state.generation += 1;
            (mem::replace(&mut state.value, value), mem::take(&mut state.wakers))
        };
        drop(old);
        wake(wakers);
    }

    /// Where its readers come from.
    pub fn readers(&self) -> Readers<T> {
        Readers(Arc::clone(&self.0))
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.closed = true;
            mem::take(&mut state.wakers)
        };
        wake(wakers);
    }
}

impl<T> Readers<T> {
    /// The value as it is now.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&lock(&self.0).value)
    }

    /// A new reader, which has read nothing yet.
    pub fn open(&self) -> Reader<T> {
        let mut state = lock(&self.0);
        state.n_ever += 1;
        state.n_open += 1;
        Reader { state: Arc::clone(&self.0), number: state.n_ever, era: state.era, seen: 0 }
    }

    /// How many readers there are that have not been ended.
    pub fn n_open(&self) -> usize {
        lock(&self.0).n_open
    }

    /// Ends every reader that exists now. Later ones are not touched.
    pub fn end_readers(&self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.era += 1;
            state.n_open = 0;
            mem::take(&mut state.wakers)
        };
        wake(wakers);
    }
}

impl<T> Clone for Readers<T> {
    fn clone(&self) -> Readers<T> {
        Readers(Arc::clone(&self.0))
    }
}

impl<T> Reader<T> {
    /// Ready once the reader has ended; there may be values that it has not read.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.has_ended(self.era) {
            return Poll::Ready(());
        }
        state.remember(self.number, cx.waker());
        Poll::Pending
    }
}

impl<T> Stream for Reader<T> {
    type Item = Arc<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        let this = &mut *self;
        let mut state = lock(&this.state);
        if state.has_ended(this.era) {
            return Poll::Ready(None);
        }
        if this.seen < state.generation {
            this.seen = state.generation;
            return Poll::Ready(Some(Arc::clone(&state.value)));
        }
        state.remember(this.number, cx.waker());
        Poll::Pending
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.state);
            if state.era == self.era {
                state.n_open -= 1;
            }
            state.forget(self.number)
        };
        drop(waker);
    }
}

impl<T> State<T> {
    fn has_ended(&self, era: u64) -> bool {
        self.closed || self.era != era
    }

    fn remember(&mut self, number: u64, waker: &Waker) {
        match self.wakers.iter_mut().find(|(it, _)| *it == number) {
            Some((_, known)) => known.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }

    fn forget(&mut self, number: u64) -> Option<Waker> {
        let idx = self.wakers.iter().position(|(it, _)| *it == number)?;
        Some(self.wakers.swap_remove(idx).1)
    }
}

fn wake(wakers: Vec<(u64, Waker)>) {
    for (_, waker) in wakers {
        waker.wake();
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // Nothing panics while it is held, and if it did, each field would still be whole.
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A reader with somebody who waits for it.
    struct Waiting(Reader<u32>, Arc<Count>);

    impl Waiting {
        fn new(readers: &Readers<u32>) -> Waiting {
            Waiting(readers.open(), Arc::default())
        }

        fn next(&mut self) -> Poll<Option<u32>> {
            let waker = Waker::from(Arc::clone(&self.1));
            let it = Pin::new(&mut self.0).poll_next(&mut Context::from_waker(&waker));
            it.map(|it| it.map(|it| *it))
        }

        fn ended(&self) -> Poll<()> {
            let waker = Waker::from(Arc::clone(&self.1));
            self.0.poll_ended(&mut Context::from_waker(&waker))
        }

        fn n_woken(&self) -> usize {
            self.1.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_slow_reader_goes_straight_to_the_newest_value() {
        let mailbox = Mailbox::new(Arc::new(0));
        let mut reader = Waiting::new(&mailbox.readers());
        assert_eq!(reader.next(), Poll::Ready(Some(0)));
        assert_eq!(reader.next(), Poll::Pending);

        for value in 1..=99 {
            mailbox.publish(Arc::new(value));
        }

        assert_eq!(reader.n_woken(), 1);
        assert_eq!(reader.next(), Poll::Ready(Some(99)));
        assert_eq!(reader.next(), Poll::Pending);
        assert_eq!(*mailbox.readers().now(), 99);
    }

    #[test]
    fn every_reader_begins_with_the_newest_value() {
        let mailbox = Mailbox::new(Arc::new(1));
        mailbox.publish(Arc::new(2));

        for _ in 0..2 {
            let mut reader = Waiting::new(&mailbox.readers());
            assert_eq!(reader.next(), Poll::Ready(Some(2)));
            assert_eq!(reader.next(), Poll::Pending);
        }
    }

    #[test]
    fn ending_the_readers_spares_those_that_come_later() {
        let mailbox = Mailbox::new(Arc::new(1));
        let readers = mailbox.readers();
        let (mut idle, mut unread) = (Waiting::new(&readers), Waiting::new(&readers));
        assert_eq!(idle.next(), Poll::Ready(Some(1)));
        assert_eq!(idle.next(), Poll::Pending);

        readers.end_readers();
        let mut later = Waiting::new(&readers);

        assert_eq!(idle.n_woken(), 1);
        assert_eq!(idle.next(), Poll::Ready(None));
        assert_eq!(unread.next(), Poll::Ready(None));
        assert_eq!(later.next(), Poll::Ready(Some(1)));
        assert_eq!(later.next(), Poll::Pending);
        mailbox.publish(Arc::new(2));
        assert_eq!(later.next(), Poll::Ready(Some(2)));
        assert_eq!(idle.next(), Poll::Ready(None));
    }

    #[test]
    fn a_reader_that_cannot_take_a_value_still_learns_that_it_has_ended() {
        let mailbox = Mailbox::new(Arc::new(1));
        let reader = Waiting::new(&mailbox.readers());
        assert_eq!(reader.ended(), Poll::Pending);

        mailbox.readers().end_readers();

        assert_eq!(reader.n_woken(), 1);
        assert_eq!(reader.ended(), Poll::Ready(()));
    }

    #[test]
    fn dropping_the_writer_ends_all_readers_for_good() {
        let mailbox = Mailbox::new(Arc::new(1));
        let readers = mailbox.readers();
        let mut reader = Waiting::new(&readers);
        assert_eq!(reader.next(), Poll::Ready(Some(1)));
        assert_eq!(reader.next(), Poll::Pending);

        drop(mailbox);

        assert_eq!(reader.n_woken(), 1);
        assert_eq!(reader.next(), Poll::Ready(None));
        assert_eq!(Waiting::new(&readers).next(), Poll::Ready(None));
        assert_eq!(*readers.now(), 1);
    }

    #[test]
    fn readers_are_counted_until_they_are_dropped_or_ended() {
        let mailbox = Mailbox::new(Arc::new(1));
        let readers = mailbox.readers();
        let (first, second) = (readers.open(), readers.open());
        assert_eq!(readers.n_open(), 2);

        drop(first);
        assert_eq!(readers.n_open(), 1);

        readers.end_readers();
        assert_eq!(readers.n_open(), 0);
        let third = readers.open();
        drop(second);
        assert_eq!(readers.n_open(), 1);
        drop(third);
        assert_eq!(readers.n_open(), 0);
    }

    #[test]
    fn a_dropped_reader_leaves_no_waker_behind() {
        let mailbox = Mailbox::new(Arc::new(1));
        let mut wakers = Vec::new();
        for _ in 0..100 {
            let mut reader = Waiting::new(&mailbox.readers());
            assert_eq!(reader.next(), Poll::Ready(Some(1)));
            assert_eq!(reader.next(), Poll::Pending);
            assert_eq!(reader.next(), Poll::Pending);
            wakers.push(Arc::downgrade(&reader.1));
        }

        assert!(wakers.iter().all(|it| it.upgrade().is_none()));
    }
}
