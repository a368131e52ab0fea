//! One answer that comes later: a thread keeps the promise, and a future waits for it.
//!
//! Threads share it behind a lock, during which nothing is called.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

/// The end of whoever will answer. Dropping it unkept is an answer too.
#[derive(Debug)]
pub(super) struct Promise<T>(Arc<Mutex<State<T>>>);

/// The end of whoever waits.
#[derive(Debug)]
pub(super) struct Promised<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    answer: Option<T>,
    is_over: bool,
    waker: Option<Waker>,
}

/// Both ends.
pub(super) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let state = Arc::new(Mutex::new(State { answer: None, is_over: false, waker: None }));
    (Promise(Arc::clone(&state)), Promised(state))
}

impl<T> Promise<T> {
    /// Answers. Never waits.
    pub(super) fn keep(self, answer: T) {
        lock(&self.0).answer = Some(answer);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.0);
            state.is_over = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Promised<T> {
    /// The answer; `None` if there will be none.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        if state.is_over {
            return Poll::Ready(state.answer.take());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // Nothing panics while it is held, and if it did, each field would still be whole.
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_once_or_broken_and_both_are_heard_of() {
        let mut cx = Context::from_waker(Waker::noop());
        let (kept, promised) = promise();
        assert_eq!(promised.poll(&mut cx), Poll::Pending);
        kept.keep(7);
        assert_eq!(promised.poll(&mut cx), Poll::Ready(Some(7)));
        let (broken, promised) = promise::<u8>();
        drop(broken);
        assert_eq!(promised.poll(&mut cx), Poll::Ready(None));
    }
}
