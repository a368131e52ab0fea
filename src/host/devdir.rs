//! Device nodes and links that come and go: the thread `devdir`.
//!
//! udev makes links such as `/dev/serial/by-id/…` after the kernel's uevent, and where uevents do not
//! reach us the nodes are all that we see. Each change is a [`Hint`] and nothing more.
//!
//! The configuration names the directories, so any of them may lie on a file system that never answers.
//! Then the thread is left behind, and another watches the other directories. Nobody joins it.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
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
        latest::Latest,
        wake::Wake,
        whereabouts::{Observer, Whereabouts},
        worker::{StopFd, Worker},
    },
    model::event::{Event, Hint},
};

/// How many directories are watched. A user may have 128 inotify instances but tens of thousands of
/// watches. A configuration that names more directories than this is most likely a mistake.
const DIRECTORIES_MAX: usize = 256;

/// How many threads may be blocked. Each is one directory; more than a few lie on one file system.
const BLOCKED_MAX: usize = 4;

/// How often it is checked whether the thread comes back from where it goes.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// The directories that are watched, and the threads that do it. Nothing here touches a file or waits.
#[derive(Debug)]
pub struct DevDir {
    host: Host,
    events: Sender<Event>,
    wanted: BTreeSet<PathBuf>,
    /// Those in which it matters when a file is written to.
    with_content: BTreeSet<PathBuf>,
    current: Option<DevDirThread>,
    blocked: Vec<Blocked>,
    check_at: Deadline,
}

/// A thread that has not come back, and from where.
#[derive(Debug)]
struct Blocked {
    at: PathBuf,
    thread: DevDirThread,
}

/// What is to be watched, and in which of it content matters.
#[derive(Debug)]
struct Orders {
    wanted: BTreeSet<PathBuf>,
    with_content: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct DevDirThread {
    /// `None` while it is dropped.
    worker: Option<Worker>,
    orders: Latest<Orders>,
    bell: Wake,
    observer: Observer,
}

impl DevDir {
    /// Without any directory, and so without a thread.
    pub fn new(host: Host, events: Sender<Event>) -> DevDir {
        let (current, blocked) = (None, Vec::new());
        let check_at = Deadline::after(CHECK_EVERY);
        let (wanted, with_content) = (BTreeSet::new(), BTreeSet::new());
        DevDir { host, events, wanted, with_content, current, blocked, check_at }
    }

    /// Watches `directories` on the host, whether they exist or not, and no others. When they are being
    /// watched there is a hint for each, since things may have come before.
    ///
    /// In those of `with_content`, a file that is written to is a hint, too.
    pub fn watch(&mut self, directories: &BTreeSet<String>, with_content: &BTreeSet<String>) {
        if directories.len() > DIRECTORIES_MAX {
            log::warn!(
                "the configuration names more than {DIRECTORIES_MAX} directories of device nodes: \
                 the others are not watched, and new device nodes in them are found late"
            );
        }
        self.wanted = directories.iter().take(DIRECTORIES_MAX).map(PathBuf::from).collect();
        self.with_content = with_content.iter().map(PathBuf::from).collect();
        self.assign();
    }

    /// When to call [`DevDir::check`].
    pub fn deadline(&mut self) -> Option<Deadline> {
        let is_there = self.current.is_some() || !self.blocked.is_empty();
        let busy = self.current.as_mut().and_then(|it| it.observer.deadline());
        Deadline::earlier(busy, is_there.then_some(self.check_at))
    }

    /// Goes on without a thread that is blocked, and with one that has come back.
    pub fn check(&mut self) {
        self.check_at = Deadline::after(CHECK_EVERY);
        let n_blocked = self.blocked.len();
        self.blocked.retain(|it| {
            let has_ended = it.thread.has_ended();
            if has_ended {
                log::info!("directory={} its file system answers again", it.at.display());
            }
            !has_ended
        });
        let mut is_other = self.blocked.len() != n_blocked;
        let blocked_at = self.current.as_mut().and_then(|it| it.observer.blocked_at());
        if let Some(at) = blocked_at.map(Path::to_owned) {
            self.leave_behind(at);
            is_other = true;
        }
        // One that has failed has said why.
        self.current.take_if(|it| it.has_ended());
        if is_other {
            self.assign();
        }
    }

    /// Whether there are directories to watch, and no thread that does.
    pub fn is_degraded(&self) -> bool {
        self.current.is_none() && !self.wanted.is_empty()
    }

    fn leave_behind(&mut self, at: PathBuf) {
        let Some(mut thread) = self.current.take() else { return };
        log::warn!(
            "directory={} cannot be watched: its file system does not answer; changes in it are found \
             late",
            at.display()
        );
        thread.ask_to_stop();
        self.blocked.push(Blocked { at, thread });
        if self.blocked.len() == BLOCKED_MAX {
            let at: Vec<String> =
                self.blocked.iter().map(|it| it.at.display().to_string()).collect();
            log::error!(
                "directories of device nodes are no longer watched: the file systems of {BLOCKED_MAX} do not \
                 answer: {}; until one does, everything is scanned each ten seconds",
                at.join(", ")
            );
        }
    }

    fn reachable(&self) -> BTreeSet<PathBuf> {
        let is_blocked = |path: &PathBuf| self.blocked.iter().any(|it| it.at == *path);
        self.wanted.iter().filter(|it| !is_blocked(it)).cloned().collect()
    }

    /// Tells the thread what to watch, and starts or ends it.
    fn assign(&mut self) {
        let orders = Orders { wanted: self.reachable(), with_content: self.with_content.clone() };
        if orders.wanted.is_empty() {
            self.current = None;
        } else if let Some(current) = &self.current {
            current.orders.put(orders);
            current.bell.wake();
        } else if self.blocked.len() < BLOCKED_MAX {
            match DevDirThread::start(self.host.clone(), orders, self.events.clone()) {
                Ok(thread) => self.current = Some(thread),
                Err(err) => log::error!(
                    "directories of device nodes are not watched: {err}; new device nodes may be found \
                     late"
                ),
            }
        }
    }
}

impl DevDirThread {
    fn start(host: Host, first: Orders, events: Sender<Event>) -> io::Result<DevDirThread> {
        let (whereabouts, observer) = Whereabouts::new();
        let (orders, inbox) = Latest::new();
        orders.put(first);
        let bell = Wake::new()?;
        let directories = Directories::new(host, Interest::Names)?.seen_by(whereabouts);
        let mut watcher =
            Watcher { directories, inbox, bell: bell.clone(), hints: Hints::new(events) };
        let worker = Worker::spawn_polling("devdir", move |stop| {
            if let Err(err) = watcher.run(&stop) {
                log::error!(
                    "directories of device nodes are no longer watched: {err}; new device nodes \
                     may be found late"
                );
            }
        })?;
        Ok(DevDirThread { worker: Some(worker), orders, bell, observer })
    }

    fn ask_to_stop(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.ask_to_stop();
        }
    }

    fn has_ended(&self) -> bool {
        self.worker.as_ref().is_none_or(Worker::has_ended)
    }
}

impl Drop for DevDirThread {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.leave_behind();
        }
    }
}

/// What a thread owns.
struct Watcher {
    directories: Directories,
    inbox: Receiver<Orders>,
    bell: Wake,
    hints: Hints,
}

impl Watcher {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        loop {
            self.bell.drain();
            if let Ok(Orders { wanted, with_content }) = self.inbox.try_recv() {
                self.directories.heed_content(with_content);
                self.directories.watch(wanted.iter().cloned());
                // What came before is seen by a scan that begins from now on.
                wanted.iter().for_each(|it| self.hint_at(it));
            }
            self.hints.flush();
            let check_at = Some(Deadline::after(self.directories.patience()));
            let until = Deadline::earlier(self.hints.deadline(), check_at);
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.directories.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, Deadline::timeout(until)) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
            let changes = self.directories.read()?;
            if changes.lost {
                self.hints.add(Hint::Everything);
            }
            changes.directories.iter().for_each(|it| self.hint_at(it));
        }
    }

    fn hint_at(&mut self, directory: &Path) {
        self.hints.add(Hint::Directory(directory.to_string_lossy().into_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crossbeam_channel::bounded;

    use super::*;

    fn directories(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|it| (*it).to_owned()).collect()
    }

    #[track_caller]
    fn expect(inbox: &Receiver<Event>, directory: &str) {
        loop {
            let event = inbox.recv_timeout(Duration::from_secs(10)).expect("no hint");
            let Event::Hinted(Hint::Directory(path)) = event else { panic!("{event:?}") };
            if path == directory {
                return;
            }
        }
    }

    #[test]
    fn a_node_that_comes_is_a_hint_at_its_directory_on_the_host() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        let (sender, inbox) = bounded(10);
        let mut devdir = DevDir::new(Host::new(root.path()), sender);
        assert!(devdir.current.is_none() && !devdir.is_degraded());
        devdir.watch(&directories(&["/dev", "/dev/snd"]), &directories(&[]));
        // They are watched now.
        ["/dev", "/dev/snd"].iter().for_each(|it| expect(&inbox, it));

        for dir in ["/dev", "/dev/snd"] {
            fs::create_dir_all(root.path().join(&dir[1..])).unwrap();
            fs::write(root.path().join(&dir[1..]).join("x"), "").unwrap();
            expect(&inbox, dir);
        }

        fs::create_dir(root.path().join("run")).unwrap();
        devdir.watch(&directories(&["/run"]), &directories(&[]));
        expect(&inbox, "/run");
        fs::write(root.path().join("dev/y"), "").unwrap();
        fs::write(root.path().join("run/y"), "").unwrap();
        let event = inbox.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(&event, Event::Hinted(Hint::Directory(it)) if it == "/run"), "{event:?}");
        devdir.watch(&directories(&[]), &directories(&[]));
        assert!(devdir.current.is_none() && !devdir.is_degraded());
    }
}
