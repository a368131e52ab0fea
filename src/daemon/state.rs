//! What must outlive this process: the thread `state`, which writes it down.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crossbeam_channel::Sender;

use crate::{
    host::{files, hold::Hold, latest::Latest, worker::Worker},
    model::{event::Event, state::Remembered},
    operate::{
        remembered::{self, FILE_NAME},
        running,
    },
};

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
        let before = read(&path);
        let (latest, inbox) = Latest::<Arc<Remembered>>::new();
        let worker = Worker::spawn("state", move |_stop| {
            let mut said = false;
            while let Ok(remembered) = inbox.recv() {
                match remembered::write(&path, &remembered) {
                    Ok(()) => said = false,
                    Err(err) => {
                        if !std::mem::replace(&mut said, true) {
                            log::warn!(
                                "cannot write {}: {err}; a device that is removed while Chandler \
                                 does not run is forgotten, and twins may change their ids",
                                path.display()
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

/// What is wrong with the file costs no more than that: the rest is used, and the file is set aside
/// before it is written anew.
fn read(path: &Path) -> Remembered {
    let (before, mistakes) = match remembered::read(path) {
        Ok(read) => read,
        Err(err) => (Remembered::new(), vec![err]),
    };
    let Some(first) = mistakes.first() else {
        return before;
    };
    let aside = PathBuf::from(format!("{}.bad", path.display()));
    let kept = match files::copy(path, &aside) {
        Ok(()) => format!("a copy is in {}", aside.display()),
        Err(err) => format!("no copy could be made: {err}"),
    };
    let n = mistakes.len();
    log::warn!("{}: {first} ({n} mistakes); the rest is used, and {kept}", path.display());
    before
}
