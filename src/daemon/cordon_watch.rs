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
    /// Whether the file could be used once. What it clears the first time was cleared before we started,
    /// and was wrong in the eyes of another process.
    has_read: bool,
    /// What its last good copy says.
    kept: Option<Orders>,
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
            has_read: false,
            kept: None,
            broken: None,
            outbox,
        };
        reader.begin();
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

    /// Reads the file for the first time, or else its last good copy.
    fn begin(&mut self) {
        cordons::sweep(&self.path);
        match cordons::read(&self.path) {
            Ok(orders) => drop(self.heed(orders)),
            Err(err) => {
                let (orders, said) = cordons::instead(&self.path, &err);
                log::error!("{said}");
                self.broken = Some(report::chain(&err));
                self.cordons = orders.cordons;
            }
        }
    }

    /// What has happened since it was read the last time.
    fn read(&mut self) -> Vec<Event> {
        match cordons::read(&self.path) {
            Ok(orders) => {
                self.broken = None;
                self.heed(orders)
            }
            Err(err) => {
                let what = report::chain(&err);
                if self.broken.as_ref() != Some(&what) {
                    log::error!("{what}; what was cordoned stays so");
                    self.broken = Some(what);
                }
                self.cordoned(err.cordons(&self.cordons)).into_iter().collect()
            }
        }
    }

    fn heed(&mut self, orders: Orders) -> Vec<Event> {
        self.keep(&orders);
        let is_first = !std::mem::replace(&mut self.has_read, true);
        let Orders { cordons, clearances } = orders;
        let mut events = Vec::from_iter(self.cordoned(cordons));
        for Clearance { device, resource, token } in clearances {
            if self.heeded.insert(token) && !is_first {
                events.push(Event::Cleared { device, resource });
            }
        }
        events
    }

    fn cordoned(&mut self, cordons: Vec<Cordon>) -> Option<Event> {
        if cordons == self.cordons {
            return None;
        }
        self.cordons = cordons;
        Some(Event::Cordons(self.cordons.clone()))
    }

    /// The commands keep a copy too, but not of what was written by hand or by an earlier version.
    fn keep(&mut self, orders: &Orders) {
        if self.kept.as_ref() == Some(orders) {
            return;
        }
        match cordons::keep(&self.path) {
            // A command that writes just now keeps a copy itself, unless it is killed.
            Ok(false) => return,
            Ok(true) => {}
            Err(err) => {
                let (file, what) = (self.path.display(), report::chain(&err));
                log::warn!(
                    "{file}: {what}; if the file breaks, a later daemon does not know what was cordoned"
                );
            }
        }
        self.kept = Some(orders.clone());
    }
}
