//! An inotify instance, or the lack of one (inotify(7)).
//!
//! A user may have 128 of them, which programs on a busy node use up. Without one nothing is reported, and
//! whoever has one of these checks for itself, by the clock.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};

use crate::host::wake::Wake;

/// How many threads of this process do without an instance: it is told to people, and decides nothing.
static MISSING: AtomicUsize = AtomicUsize::new(0);

/// How many threads do without an instance now.
pub fn n_missing() -> usize {
    MISSING.load(Ordering::Relaxed)
}

/// The bell of one that has no instance. It is never rung, and there to be polled.
#[derive(Debug)]
pub struct Silence(Wake);

impl Silence {
    fn new() -> io::Result<Silence> {
        let wake = Wake::new()?;
        MISSING.fetch_add(1, Ordering::Relaxed);
        Ok(Silence(wake))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        MISSING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reports changes of directories, if the kernel lets it.
#[derive(Debug)]
pub enum Inotifier {
    /// It reports.
    Working(Inotify),
    /// It never does.
    Missing(Silence),
}

impl Inotifier {
    /// Takes an instance. Where none is left this succeeds, and says so in the log, once.
    pub fn new() -> io::Result<Inotifier> {
        match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            Ok(inotify) => Ok(Inotifier::Working(inotify)),
            Err(err) => {
                static SAID: Once = Once::new();
                SAID.call_once(|| {
                    log::warn!(
                        "no inotify instance is left ({err}): directories are checked regularly, and \
                         changes in them found up to ten seconds late; raise \
                         fs.inotify.max_user_instances and start chandler again"
                    );
                });
                Ok(Inotifier::Missing(Silence::new()?))
            }
        }
    }

    /// Whether it can report anything.
    pub fn works(&self) -> bool {
        match self {
            Inotifier::Working(_) => true,
            Inotifier::Missing(_) => false,
        }
    }

    /// Watches a directory.
    pub fn add_watch(&self, path: &Path, events: AddWatchFlags) -> nix::Result<WatchDescriptor> {
        match self {
            Inotifier::Working(inotify) => inotify.add_watch(path, events),
            Inotifier::Missing(_) => Err(Errno::EMFILE),
        }
    }

    /// Stops watching one. Fails when it is gone, and the watch with it.
    pub fn rm_watch(&self, watch: WatchDescriptor) -> nix::Result<()> {
        match self {
            Inotifier::Working(inotify) => inotify.rm_watch(watch),
            Inotifier::Missing(_) => Err(Errno::EINVAL),
        }
    }

    /// What has happened. `EAGAIN` if nothing has.
    pub fn read_events(&self) -> nix::Result<Vec<InotifyEvent>> {
        match self {
            Inotifier::Working(inotify) => inotify.read_events(),
            Inotifier::Missing(_) => Err(Errno::EAGAIN),
        }
    }
}

impl AsFd for Inotifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Inotifier::Working(inotify) => inotify.as_fd(),
            Inotifier::Missing(Silence(bell)) => bell.as_fd(),
        }
    }
}
