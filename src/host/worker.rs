//! Threads that stop and are joined when their handle is dropped.
//!
//! A thread that waits for channels is stopped by a disconnection, one that waits in `poll` by a
//! bell. No other thread is started anywhere, but for those of the gRPC core and, for what may hang,
//! detached ones.

#![expect(clippy::disallowed_methods, reason = "this module is what the others are sent to")]

use std::{
    convert::Infallible,
    ffi::c_ulong,
    io,
    os::fd::{AsFd, BorrowedFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::prctl::set_timerslack;

use crate::host::wake::Wake;

/// The longest name that the kernel keeps; `ps -L` and `top -H` show no more (`TASK_COMM_LEN` is 16
/// with its NUL).
pub const THREAD_NAME_LEN_MAX: usize = 15;

/// Owns a thread. Dropping it asks the thread to stop, and waits until it has.
#[derive(Debug)]
pub struct Worker {
    asking: Asking,
    // An option so that `drop` can take it.
    thread: Option<JoinHandle<()>>,
}

/// How a thread is told to stop.
#[derive(Debug)]
enum Asking {
    /// Nothing is ever sent: the disconnection is the message.
    Disconnect(Option<Sender<Infallible>>),
    /// Rung once and never silenced.
    Ring(Wake),
}

/// The end that a thread keeps of a [`Worker`] if it waits for channels.
#[derive(Debug)]
pub struct Stop(Receiver<Infallible>);

/// The end that a thread keeps of a [`Worker`] if it waits in `poll`. Readable, for ever, once the
/// thread must stop.
#[derive(Debug)]
pub struct StopFd(Wake);

impl Worker {
    /// Starts a thread that waits for channels.
    ///
    /// `body` must return soon after its [`Stop`] fires. It waits only where a stop can wake it: in
    /// a `select!` with [`Stop::receiver`], or in a `send` whose receiver is dropped before this worker
    /// is.
    pub fn spawn(
        name: impl Into<String>,
        body: impl FnOnce(Stop) + Send + 'static,
    ) -> io::Result<Worker> {
        // Rendezvous: no message ever travels, so there is nothing to hold.
        let (sender, receiver) = bounded(0);
        let thread = spawn(name.into(), move || body(Stop(receiver)))?;
        Ok(Worker { asking: Asking::Disconnect(Some(sender)), thread: Some(thread) })
    }

    /// Starts a thread that waits in `poll`, with its [`StopFd`] among what it polls.
    pub fn spawn_polling(
        name: impl Into<String>,
        body: impl FnOnce(StopFd) + Send + 'static,
    ) -> io::Result<Worker> {
        let wake = Wake::new()?;
        let stop = StopFd(wake.clone());
        let thread = spawn(name.into(), move || body(stop))?;
        Ok(Worker { asking: Asking::Ring(wake), thread: Some(thread) })
    }

    /// Starts a thread that nobody waits for: what it does may hang for ever in the kernel, and the
    /// end of the process must not.
    ///
    /// It ends when the channel that `body` serves is disconnected, or with the process.
    pub fn spawn_detached(
        name: impl Into<String>,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        spawn(name.into(), body).map(drop)
    }

    /// Asks the thread to stop, without waiting for it: to stop several at the same time, ask them
    /// all before dropping the first.
    pub fn ask_to_stop(&mut self) {
        match &mut self.asking {
            Asking::Disconnect(sender) => drop(sender.take()),
            Asking::Ring(wake) => wake.wake(),
        }
    }

    /// Asks the thread to stop, and does not wait for it: a read of the host that blocks it may never return.
    pub fn leave_behind(mut self) {
        self.ask_to_stop();
        drop(self.thread.take());
    }

    /// Whether the thread has ended, so that dropping this does not wait.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ask_to_stop();
        let Some(thread) = self.thread.take() else { return };
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            log::error!("thread={name} panicked; its message is above");
        }
    }
}

impl Stop {
    /// For a `select!`, beside the channels that the thread serves.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

impl AsFd for StopFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `start` so that the threads which it starts, and those which they start, may be woken late by their
/// own timers, up to `slack` (`PR_SET_TIMERSLACK` in prctl(2)). For threads of others whose timers have
/// nothing to do: the kernel then wakes them along with something else, or less often.
pub fn with_timer_slack<T>(slack: Duration, start: impl FnOnce() -> T) -> T {
    let nanoseconds = c_ulong::try_from(slack.as_nanos()).unwrap_or(c_ulong::MAX);
    // Where it is forbidden, they wake up more often.
    _ = set_timerslack(nanoseconds);
    let started = start();
    // Zero is what this thread began with.
    _ = set_timerslack(0);
    started
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    debug_assert!(name.len() <= THREAD_NAME_LEN_MAX, "the kernel would cut {name}");
    thread::Builder::new().name(name).spawn(body)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::select;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn dropping_a_worker_wakes_it_and_waits_for_it() {
        let (sender, finished) = bounded(1);
        let worker = Worker::spawn("sleeper", move |stop| {
            _ = stop.receiver().recv();
            sender.send(()).unwrap();
        })
        .unwrap();

        drop(worker);

        assert_eq!(finished.try_recv(), Ok(()));
    }

    #[test]
    fn dropping_a_worker_wakes_it_from_a_select() {
        let (_never, nothing) = bounded::<()>(0);
        let worker = Worker::spawn("selector", move |stop| {
            select! {
                recv(stop.receiver()) -> _ => {}
                recv(nothing) -> _ => {}
            }
        })
        .unwrap();

        drop(worker);
    }

    #[test]
    fn dropping_a_worker_wakes_it_from_a_poll() {
        let (sender, finished) = bounded(1);
        let worker = Worker::spawn_polling("poller", move |stop| {
            let mut fds = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
            sender.send(poll(&mut fds, PollTimeout::NONE)).unwrap();
        })
        .unwrap();

        drop(worker);

        assert_eq!(finished.try_recv(), Ok(Ok(1)));
    }

    #[test]
    fn workers_that_were_asked_first_stop_at_the_same_time() {
        let (first, second) = (bounded::<()>(0), bounded::<()>(0));
        // Each ends only after it has met the other, so neither could be joined before the other
        // was asked.
        let mut workers = [(first.0, second.1), (second.0, first.1)].map(|(mine, other)| {
            Worker::spawn("pair", move |stop| {
                _ = stop.receiver().recv();
                drop(mine);
                _ = other.recv();
            })
            .unwrap()
        });

        for worker in &mut workers {
            worker.ask_to_stop();
        }
        drop(workers);
    }
}
