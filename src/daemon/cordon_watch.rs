//! The file of cordons: the thread `cordon`.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use crate::{
    host::{
        Host,
        deadline::Deadline,
        directories::{Directories, Interest},
        outbox::Outbox,
        worker::{StopFd, Worker},
    },
    model::{
        cordon::{Clearance, Cordon, Orders},
        event::Event,
    },
    operate::{
        cordons::{self, FILE_NAME},
        report,
    },
};

/// Watches the file of cordons until it is dropped.
#[derive(Debug)]
pub(super) struct CordonWatch {
    _worker: Worker,
}

/// What the thread owns.
struct CordonReader {
    path: PathBuf,
    directories: Directories,
    cordons: Vec<Cordon>,
    /// The tokens of the clearances that were read.
    heeded: BTreeSet<String>,
    /// What was said last of a file that cannot be used.
    broken: Option<String>,
    outbox: Outbox,
}

impl CordonWatch {
    /// Starts the thread `cordon`. With it comes what is cordoned now.
    pub(super) fn start(
        state_dir: &Path,
        events: Sender<Event>,
    ) -> io::Result<(CordonWatch, Vec<Cordon>)> {
        let dir = std::path::absolute(state_dir)?;
        let path = dir.join(FILE_NAME);
        let directories = Directories::new(Host::new("/"), [dir], Interest::Content)?;
        let outbox = Outbox::new(events);
        let mut reader = CordonReader {
            path,
            directories,
            cordons: Vec::new(),
            heeded: BTreeSet::new(),
            broken: None,
            outbox,
        };
        // What was cleared before we started was wrong in the eyes of another process.
        drop(reader.read());
        let cordons = reader.cordons.clone();
        let worker = Worker::spawn_polling("cordon", move |stop| {
            if let Err(err) = reader.run(&stop) {
                log::error!("cordons are no longer heeded: {err}");
            }
        })?;
        Ok((CordonWatch { _worker: worker }, cordons))
    }
}

impl CordonReader {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        loop {
            let look_at = Some(Deadline::after(self.directories.patience()));
            let until = Deadline::earlier(look_at, self.outbox.deadline());
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.directories.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, Deadline::timeout(until)) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
            self.outbox.flush();
            // The file is renamed into place, so it is always whole; reading it costs nothing.
            self.directories.read()?;
            if self.outbox.is_empty() {
                self.read().into_iter().for_each(|it| self.outbox.push(it));
            }
        }
    }

    /// What has happened since it was read the last time.
    fn read(&mut self) -> Vec<Event> {
        match cordons::read(&self.path) {
            Ok(Orders { cordons, clearances }) => {
                self.broken = None;
                let mut events = Vec::new();
                if cordons != self.cordons {
                    self.cordons = cordons;
                    events.push(Event::Cordons(self.cordons.clone()));
                }
                for Clearance { device, resource, token } in clearances {
                    if self.heeded.insert(token) {
                        events.push(Event::Cleared { device, resource });
                    }
                }
                events
            }
            Err(err) => {
                let what = report::chain(&err);
                if self.broken.as_ref() != Some(&what) {
                    log::error!("{what}; what was cordoned stays so");
                    self.broken = Some(what);
                }
                Vec::new()
            }
        }
    }
}
