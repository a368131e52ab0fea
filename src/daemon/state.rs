//! What must outlive this process: the thread `state`, which writes it down.

use std::{io, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::{
    host::{hold::Hold, latest::Latest, worker::Worker},
    model::{event::Event, state::Remembered},
    operate::{
        remembered::{FILE_NAME, Memory},
        report, running,
    },
};

/// When a write that failed is tried again: a full disk may have room then.
const RETRY: Duration = Duration::from_secs(30);

/// Writes down what must outlive us, and says that we run for as long as it lives. Dropping it waits until
/// the last of it is written.
#[derive(Debug)]
pub(super) struct StateWriter {
    // Before the worker, so that it is dropped first: the thread waits on it.
    latest: Latest<Arc<Remembered>>,
    _worker: Worker,
    _hold: Option<Hold>,
}

impl StateWriter {
    /// Starts the thread. With it comes what the process before us has left.
    pub(super) fn start(
        state_dir: &Path,
        events: Sender<Event>,
    ) -> io::Result<(StateWriter, Remembered)> {
        let path = state_dir.join(FILE_NAME);
        let (memory, before) = Memory::open(&path);
        let (latest, inbox) = Latest::<Arc<Remembered>>::new();
        let mut unwritten = memory.is_broken().then(|| Arc::new(before.clone()));
        let worker = Worker::spawn("state", move |_stop| {
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
        let hold = running::announce(state_dir).inspect_err(|err| {
            log::warn!(
                "cannot hold {}: {err}; other commands do not know that this daemon runs",
                state_dir.join(running::FILE_NAME).display()
            );
        });
        Ok((StateWriter { latest, _worker: worker, _hold: hold.ok() }, before))
    }

    /// Never waits.
    pub(super) fn remember(&self, remembered: Arc<Remembered>) {
        self.latest.put(remembered);
    }
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
