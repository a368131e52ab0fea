//! What must be remembered of this process by the next: the thread `state`, which writes the file of
//! offers.

use std::{io, path::Path, sync::Arc};

use crate::{
    host::{latest::Latest, worker::Worker},
    model::event::Offered,
    operate::offered::{self, FILE_NAME},
};

/// Remembers what the kubelet has been told of. Dropping it waits until the last of it is written.
#[derive(Debug)]
pub(super) struct StateWriter {
    // Before the worker, so that it is dropped first: the thread waits on it.
    latest: Latest<Arc<Offered>>,
    _worker: Worker,
}

impl StateWriter {
    /// Starts the thread. With it comes what the process before us has offered.
    pub(super) fn start(state_dir: &Path) -> io::Result<(StateWriter, Offered)> {
        let path = state_dir.join(FILE_NAME);
        let before = offered::read(&path).unwrap_or_else(|err| {
            log::warn!("{}: {err}; it will be written anew", path.display());
            Offered::new()
        });
        let (latest, inbox) = Latest::<Arc<Offered>>::new();
        let worker = Worker::spawn("state", move |_stop| {
            let mut said = false;
            while let Ok(offered) = inbox.recv() {
                match offered::write(&path, &offered) {
                    Ok(()) => said = false,
                    Err(err) => {
                        if !std::mem::replace(&mut said, true) {
                            log::warn!(
                                "cannot write {}: {err}; a device that vanishes while Chandler does not \
                                 run is forgotten",
                                path.display()
                            );
                        }
                    }
                }
            }
        })?;
        Ok((StateWriter { latest, _worker: worker }, before))
    }

    /// Never waits.
    pub(super) fn remember(&self, offered: Arc<Offered>) {
        self.latest.put(offered);
    }
}
