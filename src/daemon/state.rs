//! What must outlive this process: the thread `state`, which writes it down.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::{
    host::{Host, hold::Hold, latest::Latest, worker::Worker},
    model::{event::Event, state::Remembered},
    operate::{
        boot::Boot,
        remembered::{FILE_NAME, Memory},
        report, running,
    },
};

/// When a write that failed is tried again: a full disk may have room then.
const RETRY: Duration = Duration::from_secs(30);

/// How long the end waits for the last of it to be written. A disk that is busy takes a second or two.
const LAST_WRITE_MAX: Duration = Duration::from_secs(5);

/// Writes down what must outlive us, and says that we run for as long as it lives. Dropping it waits until
/// the last of it is written, unless that is blocked.
#[derive(Debug)]
pub(super) struct StateWriter {
    /// `None` while it is dropped: the thread waits on it.
    latest: Option<Latest<Arc<Remembered>>>,
    /// Nothing is ever sent: it is disconnected when the thread has done its work.
    done: Receiver<Infallible>,
    worker: Option<Worker>,
}

impl StateWriter {
    /// Starts the thread. First it says what the process before us has left.
    pub(super) fn start(
        state_dir: &Path,
        host: Host,
        events: Sender<Event>,
    ) -> io::Result<StateWriter> {
        let state_dir = state_dir.to_owned();
        let (latest, inbox) = Latest::<Arc<Remembered>>::new();
        let (working, done) = bounded(0);
        let worker = Worker::spawn("state", move |_stop| {
            let _working: Sender<Infallible> = working;
            let _hold = hold(&state_dir);
            let boot = Boot::of(&host, Some(now()));
            let (memory, before) = Memory::open(&state_dir.join(FILE_NAME), boot);
            let mut unwritten = memory.is_broken().then(|| Arc::new(before.clone()));
            drop(events.send(Event::Remembered(before)));
            let (mut said, mut wait) = (false, Duration::ZERO);
            while let Some(remembered) = next(&inbox, unwritten.take(), wait) {
                wait = RETRY;
                match memory.write(&remembered) {
                    Ok(()) => said = false,
                    Err(err) => {
                        unwritten = Some(Arc::clone(&remembered));
                        if !std::mem::replace(&mut said, true) {
                            log::warn!(
                                "{}; it is tried again, and until then a device that is removed while \
                                 Chandler does not run is forgotten, and twins may change their ids",
                                report::chain(&err)
                            );
                        }
                    }
                }
                // Also if it failed: no device is worth less for a full disk. Nobody listens when the daemon
                // goes down, and the last of it is written all the same.
                drop(events.send(Event::Stored(remembered)));
            }
        })?;
        Ok(StateWriter { latest: Some(latest), done, worker: Some(worker) })
    }

    /// Never waits.
    pub(super) fn remember(&self, remembered: Arc<Remembered>) {
        if let Some(latest) = &self.latest {
            latest.put(remembered);
        }
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        drop(self.latest.take());
        let Some(worker) = self.worker.take() else { return };
        if self.done.recv_timeout(LAST_WRITE_MAX) == Err(RecvTimeoutError::Timeout) {
            log::warn!(
                "thread=state a read or write of the state directory is blocked, and what was to be \
                 remembered last may be lost"
            );
            worker.leave_behind();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "moments are written as those since the machine was started"
)]
fn now() -> Instant {
    Instant::now()
}

/// Says that we run, to other commands.
fn hold(state_dir: &Path) -> Option<Hold> {
    let hold = running::announce(state_dir).inspect_err(|err| {
        log::warn!(
            "cannot hold {}: {err}; other commands do not know that this daemon runs",
            state_dir.join(running::FILE_NAME).display()
        );
    });
    hold.ok()
}

/// What is to be written next: the latest, or else after a while what could not be written. `None` at the
/// end.
fn next(
    inbox: &Receiver<Arc<Remembered>>,
    unwritten: Option<Arc<Remembered>>,
    wait: Duration,
) -> Option<Arc<Remembered>> {
    let Some(unwritten) = unwritten else { return inbox.recv().ok() };
    match inbox.recv_timeout(wait) {
        Ok(latest) => Some(latest),
        Err(RecvTimeoutError::Timeout) => Some(unwritten),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}
