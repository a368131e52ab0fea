//! Device nodes and links that come and go: the thread `devdir`.
//!
//! udev makes links such as `/dev/serial/by-id/…` after the kernel's uevent, and where uevents do not
//! reach us the nodes are all that we see. Each change is a [`Hint`] and nothing more.

use std::{collections::BTreeSet, io, os::fd::AsFd, path::PathBuf};

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
        hints::Hints,
        worker::{StopFd, Worker},
    },
    model::event::{Event, Hint},
};

/// How many directories are watched. A user may have 128 inotify instances but tens of thousands of
/// watches. A configuration that names more directories than this is most likely a mistake.
const DIRECTORIES_MAX: usize = 256;

/// Watches directories of device nodes. Dropping it stops the thread.
#[derive(Debug)]
pub struct DevDir {
    _worker: Option<Worker>,
}

impl DevDir {
    /// Starts the thread `devdir`, which watches `directories` on `host`, whether they exist or not.
    ///
    /// They are being watched when this returns. Where they cannot be, this succeeds and says so in
    /// the log.
    pub fn start(
        host: Host,
        directories: &BTreeSet<String>,
        events: Sender<Event>,
    ) -> io::Result<DevDir> {
        if directories.is_empty() {
            return Ok(DevDir { _worker: None });
        }
        if directories.len() > DIRECTORIES_MAX {
            log::warn!(
                "the configuration names more than {DIRECTORIES_MAX} directories of device nodes: \
                 the others are not watched, and new device nodes in them are found late"
            );
        }
        let wanted = directories.iter().take(DIRECTORIES_MAX).map(PathBuf::from);
        let mut directories = match Directories::new(host, wanted, Interest::Names) {
            Ok(directories) => directories,
            Err(err) => {
                log::warn!(
                    "cannot watch directories of device nodes: {err}; new device nodes may be \
                     found late"
                );
                return Ok(DevDir { _worker: None });
            }
        };
        let mut hints = Hints::new(events);
        let worker = Worker::spawn_polling("devdir", move |stop| {
            if let Err(err) = run(&stop, &mut directories, &mut hints) {
                log::error!(
                    "directories of device nodes are no longer watched: {err}; new device nodes \
                     may be found late"
                );
            }
        })?;
        Ok(DevDir { _worker: Some(worker) })
    }
}

fn run(stop: &StopFd, directories: &mut Directories, hints: &mut Hints) -> io::Result<()> {
    loop {
        let until =
            Deadline::earlier(hints.deadline(), Some(Deadline::after(directories.patience())));
        let mut fds = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(directories.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, Deadline::timeout(until)) {
            Ok(_) if fds[0].any() == Some(true) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let changes = directories.read()?;
        if changes.lost {
            hints.add(Hint::Everything);
        }
        for path in changes.directories {
            hints.add(Hint::Directory(path.to_string_lossy().into_owned()));
        }
        hints.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_node_that_comes_is_a_hint_at_its_directory_on_the_host() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        let (sender, inbox) = bounded(10);
        let wanted = BTreeSet::from(["/dev/snd".to_owned(), "/dev".to_owned()]);
        let _devdir = DevDir::start(Host::new(root.path()), &wanted, sender).unwrap();

        for dir in ["/dev", "/dev/snd"] {
            fs::create_dir_all(root.path().join(&dir[1..])).unwrap();
            fs::write(root.path().join(&dir[1..]).join("x"), "").unwrap();
            loop {
                let event = inbox.recv_timeout(Duration::from_secs(10)).expect("no hint");
                let Event::Hinted(Hint::Directory(path)) = event else { panic!("{event:?}") };
                if path == dir {
                    break;
                }
            }
        }
    }
}
