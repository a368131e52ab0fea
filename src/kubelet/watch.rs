//! Watches for the kubelet: the thread `kubelet`.
//!
//! It watches the plugin directory, and says when the kubelet's socket is a new one or gone, and when a
//! socket was removed that may have been ours, or was made by another process like us. It does not
//! decide what follows.
//!
//! Events of inotify are hints: after each we check what is there, and now and then without
//! any, because events can be lost. The kubelet writes files into the directory with every
//! message of any plugin, so all names but two are ignored. The kubelet's socket appears before
//! anybody listens on it; whoever connects must expect a refusal.
//!
//! The thread blocks in `poll` only.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io, mem,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor},
};

use crate::{
    host::{
        deadline::Deadline,
        directories::end_events,
        inotifier::Inotifier,
        outbox::Outbox,
        socket::{self, FileIdentity},
        worker::{StopFd, Worker},
    },
    kubelet::{
        arrivals::{Arrivals, Gone},
        endpoint::{self, is_endpoint, is_own_endpoint},
        plugin::KUBELET_SOCKET,
    },
    model::event::{Event, SocketIdentity},
};

/// How often we check without a hint. Two `stat`s cost nothing; inotify loses events only by an overflow,
/// which it reports, and when a parent of the directory is moved.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How often we check where nothing is reported: for a directory that is not there, or without inotify. Its parent is watched as well, so this
/// matters only if several levels are missing.
const CHECK_MISSING_EVERY: Duration = Duration::from_secs(1);

/// How often we try to find the directory before we wait for the next hint.
const FIND_TRIES: u32 = 16;

/// The watch on the plugin directory. Dropping it stops the thread.
#[derive(Debug)]
pub struct Watch {
    _worker: Worker,
}

impl Watch {
    /// Starts the thread `kubelet`, which watches `dir`. If the kubelet is there, it says so at once.
    pub fn start(dir: &Path, events: Sender<Event>) -> io::Result<Watch> {
        let inotify = Inotifier::new()?;
        let dir = dir.to_owned();
        let worker = Worker::spawn_polling("kubelet", move |stop| {
            let watcher = Watcher {
                socket: dir.join(KUBELET_SOCKET),
                dir,
                stop,
                inotify,
                watched: None,
                known: None,
                endpoints: BTreeSet::new(),
                arrivals: Arrivals::default(),
                successors_gone: BTreeSet::new(),
                predecessors_gone: BTreeSet::new(),
                has_warned: false,
                outbox: Outbox::new(events),
            };
            watcher.run();
        })?;
        Ok(Watch { _worker: worker })
    }
}

/// What the thread owns.
struct Watcher {
    dir: PathBuf,
    /// The kubelet's, in `dir`.
    socket: PathBuf,
    stop: StopFd,
    inotify: Inotifier,
    watched: Option<Watched>,
    /// The kubelet's socket, as the main thread knows it.
    known: Option<SocketIdentity>,
    /// The sockets of processes like us, at the last check without a hint.
    endpoints: BTreeSet<OsString>,
    arrivals: Arrivals,
    /// What the main thread does not know yet.
    successors_gone: BTreeSet<u32>,
    predecessors_gone: BTreeSet<u32>,
    /// What keeps us from watching the directory has been logged.
    has_warned: bool,
    outbox: Outbox,
}

/// What is being watched.
#[derive(Debug, PartialEq)]
struct Watched {
    /// The plugin directory, or the nearest ancestor that exists.
    path: PathBuf,
    /// Tells it from another that has taken its name.
    file: FileIdentity,
    watch: WatchDescriptor,
}

/// What an event is a hint of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DirectoryHint {
    /// Nothing of ours: most of them.
    None,
    /// The kubelet's socket has come or gone.
    Kubelet,
    /// A socket like ours has gone, or another process like us has made one.
    Endpoint,
    /// Anything may have happened.
    Everything,
}

impl Watcher {
    fn run(mut self) {
        // Before anybody is told of a kubelet, and so before a plugin makes a socket.
        self.sweep();
        let mut hint = DirectoryHint::Everything;
        let mut next_check = Deadline::after(CHECK_EVERY);
        loop {
            let is_due = next_check.has_passed();
            if is_due || hint == DirectoryHint::Everything {
                self.find_directory();
                next_check = Deadline::after(self.patience());
            }
            if is_due {
                hint = hint.max(self.hint_of_dir());
            }
            self.check(hint);
            hint = match self.wait(next_check) {
                Ok(Some(hint)) => hint,
                Ok(None) => return,
                Err(err) => {
                    log::error!("the kubelet is no longer watched: cannot poll: {err}");
                    return;
                }
            };
        }
    }

    /// Removes what processes like us have left that did not end properly.
    fn sweep(&self) {
        match endpoint::sweep(&self.dir) {
            Ok(0) => {}
            Ok(n_removed) => {
                log::info!("removed={n_removed} sockets that a dead process left behind");
            }
            // The directory may not be there yet.
            Err(err) => log::debug!("cannot look for old sockets: {err}"),
        }
    }

    /// What the names in the directory hint at. Another process like us may have died and left its sockets,
    /// which no event reports.
    fn hint_of_dir(&mut self) -> DirectoryHint {
        let names = socket::names(&self.dir).unwrap_or_default().into_iter();
        let endpoints: BTreeSet<OsString> = names.filter(|it| is_endpoint(it)).collect();
        let is_new = endpoints != self.endpoints;
        self.endpoints = endpoints;
        match is_new || self.endpoints.iter().any(|it| !is_own_endpoint(it)) {
            true => DirectoryHint::Endpoint,
            false => DirectoryHint::Kubelet,
        }
    }

    fn patience(&self) -> Duration {
        match self.watches_dir() {
            true => CHECK_EVERY,
            false => CHECK_MISSING_EVERY,
        }
    }

    fn watches_dir(&self) -> bool {
        self.watched.as_ref().is_some_and(|it| it.path == self.dir)
    }

    /// Makes sure that the plugin directory is watched, or the nearest ancestor that exists.
    fn find_directory(&mut self) {
        if !self.inotify.works() {
            return;
        }
        // Again until nothing has changed while the watch was being set: directories are made one
        // right after the other. A few times, because they might be made and deleted for ever.
        for _ in 0..FIND_TRIES {
            let nearest = self.dir.ancestors().find_map(|path| {
                let file = socket::dir_identity(path).ok()?;
                Some((path.to_owned(), file))
            });
            let Some((path, file)) = nearest else { break };
            if self.watched.as_ref().is_some_and(|it| it.path == path && it.file == file) {
                break;
            }
            self.leave();
            match self.inotify.add_watch(&path, watched_events()) {
                Ok(watch) => self.watched = Some(Watched { path, file, watch }),
                // Gone again.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(err) => {
                    self.warn_once(&format!(
                        "directory={} cannot be watched: {err}",
                        path.display()
                    ));
                    return;
                }
            }
        }
        if self.watches_dir() {
            if mem::take(&mut self.has_warned) {
                log::info!("directory={} is watched now", self.dir.display());
            }
        } else {
            self.warn_once(&format!("directory={} does not exist", self.dir.display()));
        }
    }

    /// Stops watching where we are.
    fn leave(&mut self) {
        if let Some(old) = self.watched.take() {
            // Fails when the directory is gone, and the watch with it.
            _ = self.inotify.rm_watch(old.watch);
        }
    }

    /// Logs what keeps us from watching, once until we can.
    fn warn_once(&mut self, what: &str) {
        if !mem::replace(&mut self.has_warned, true) {
            log::warn!("{what}; we check every second whether the kubelet is there");
        }
    }

    /// Checks what is there, and reports what is new.
    fn check(&mut self, hint: DirectoryHint) {
        // Events that wait to be sent come first; we check again when there is room.
        if hint == DirectoryHint::None || !self.outbox.is_empty() {
            return;
        }
        let found = socket::identity(&self.socket).ok();
        if found != self.known {
            self.known = found;
            self.outbox.push(match found {
                Some(identity) => Event::KubeletAppeared(identity),
                None => Event::KubeletGone,
            });
        }
        if hint >= DirectoryHint::Endpoint {
            let successors_gone = mem::take(&mut self.successors_gone);
            let predecessors_gone = mem::take(&mut self.predecessors_gone);
            self.outbox.push(Event::EndpointsDisturbed { successors_gone, predecessors_gone });
        }
    }

    /// Waits for a hint. `None` means that the thread must stop.
    fn wait(&mut self, next_check: Deadline) -> io::Result<Option<DirectoryHint>> {
        let held_back = !self.outbox.is_empty();
        let until = Deadline::earlier(Some(next_check), self.outbox.deadline());
        let mut fds = [
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, Deadline::timeout(until)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Some(DirectoryHint::None)),
            Err(err) => return Err(err.into()),
        }
        let stopped = fds[0].any() == Some(true);
        if stopped {
            return Ok(None);
        }
        let hint = self.read_hints()?;
        self.outbox.flush();
        // Hints that came while there was no room may have been left out.
        Ok(Some(if held_back && self.outbox.is_empty() { DirectoryHint::Everything } else { hint }))
    }

    /// The strongest hint of all events that are there.
    fn read_hints(&mut self) -> io::Result<DirectoryHint> {
        let mut strongest = DirectoryHint::None;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in &events {
                        strongest = strongest.max(self.hint(event));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(strongest),
                Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn gone(&mut self, name: &OsStr) {
        match self.arrivals.gone(name) {
            Some(Gone::Successor(tag)) => drop(self.successors_gone.insert(tag)),
            Some(Gone::Predecessor(tag)) => drop(self.predecessors_gone.insert(tag)),
            None => {}
        }
    }

    fn hint(&mut self, event: &InotifyEvent) -> DirectoryHint {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.arrivals.forget();
            return DirectoryHint::Everything;
        }
        // An event of a place that we have left says nothing; not even that its watch is gone.
        let Some(watched) = self.watched.as_ref().filter(|it| it.watch == event.wd) else {
            return DirectoryHint::None;
        };
        if event.mask.intersects(end_events()) {
            // What is found under its name may well have the same inode, and no watch.
            self.leave();
            return DirectoryHint::Everything;
        }
        match &event.name {
            Some(name) if watched.path == self.dir => {
                match is_removal(event.mask) {
                    true => self.gone(name),
                    false => self.arrivals.arrived(name),
                }
                hint_of_name(name, event.mask)
            }
            // In an ancestor: the next step on the way down may be there now.
            Some(name) => match self.dir.strip_prefix(&watched.path) {
                Ok(rest) if rest.iter().next() == Some(name) => DirectoryHint::Everything,
                Ok(_) | Err(_) => DirectoryHint::None,
            },
            None => DirectoryHint::None,
        }
    }
}

fn hint_of_name(name: &OsStr, mask: AddWatchFlags) -> DirectoryHint {
    if name == KUBELET_SOCKET {
        DirectoryHint::Kubelet
    } else if is_endpoint(name) && (is_removal(mask) || !is_own_endpoint(name)) {
        DirectoryHint::Endpoint
    } else {
        DirectoryHint::None
    }
}

fn is_removal(mask: AddWatchFlags) -> bool {
    mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM)
}

/// What happens to names in a directory, and to the directory.
fn watched_events() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use crossbeam_channel::{Receiver, bounded};
    use tempfile::TempDir;

    use super::*;
    use crate::kubelet::{endpoint, plugin::tests::PATIENCE};

    /// A watched directory, which may not exist yet.
    struct Watched {
        root: TempDir,
        events: Receiver<Event>,
        _watch: Watch,
    }

    impl Watched {
        fn new(prepare: impl FnOnce(&Path)) -> Watched {
            let root = tempfile::tempdir().unwrap();
            prepare(root.path());
            // More than any test says without listening.
            let (sender, events) = bounded(1000);
            let watch = Watch::start(&root.path().join("a/b/plugins"), sender).unwrap();
            Watched { root, events, _watch: watch }
        }

        /// One whose directory exists, and which has done its first check.
        fn ready() -> Watched {
            let it = Watched::new(make_dir);
            it.expect_disturbed();
            it
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join("a/b/plugins").join(name)
        }

        fn listen(&self) -> UnixListener {
            UnixListener::bind(self.path(KUBELET_SOCKET)).unwrap()
        }

        fn identity(&self) -> SocketIdentity {
            socket::identity(&self.path(KUBELET_SOCKET)).unwrap()
        }

        #[track_caller]
        fn next(&self) -> Event {
            self.events.recv_timeout(PATIENCE).expect("the watch has nothing to say")
        }

        /// The next event that is not [`Event::EndpointsDisturbed`], which comes with every full
        /// check.
        #[track_caller]
        fn news(&self) -> Event {
            loop {
                let event = self.next();
                if !matches!(event, Event::EndpointsDisturbed { .. }) {
                    return event;
                }
            }
        }

        #[track_caller]
        fn expect_disturbed(&self) {
            let event = self.next();
            assert!(matches!(event, Event::EndpointsDisturbed { .. }), "{event:?}");
        }

        #[track_caller]
        fn expect_kubelet(&self, identity: SocketIdentity) {
            let event = self.news();
            assert!(matches!(event, Event::KubeletAppeared(it) if it == identity), "{event:?}");
        }

        #[track_caller]
        fn expect_gone(&self) {
            let event = self.news();
            assert!(matches!(event, Event::KubeletGone), "{event:?}");
        }
    }

    /// The name of a socket of this process.
    fn ours(number: u32) -> String {
        format!("chandler-01234567-{:08x}-{number:x}.sock", endpoint::token())
    }

    fn make_dir(root: &Path) {
        fs::create_dir_all(root.join("a/b/plugins")).unwrap();
    }

    #[test]
    fn a_kubelet_that_was_there_before_us_is_reported() {
        let mut listener = None;
        let it = Watched::new(|root| {
            make_dir(root);
            let path = root.join("a/b/plugins").join(KUBELET_SOCKET);
            listener = Some(UnixListener::bind(path).unwrap());
        });

        it.expect_kubelet(it.identity());
    }

    #[test]
    fn every_new_socket_is_reported_and_so_is_its_end() {
        let it = Watched::ready();
        for _ in 0..3 {
            let listener = it.listen();
            it.expect_kubelet(it.identity());

            fs::remove_file(it.path(KUBELET_SOCKET)).unwrap();
            it.expect_gone();
            drop(listener);
        }
    }

    #[test]
    fn a_socket_that_takes_the_place_of_another_is_new() {
        let it = Watched::ready();
        let _first = it.listen();
        it.expect_kubelet(it.identity());

        let _second = UnixListener::bind(it.path("new")).unwrap();
        fs::rename(it.path("new"), it.path(KUBELET_SOCKET)).unwrap();

        it.expect_kubelet(it.identity());
    }

    #[test]
    fn all_names_but_two_are_ignored() {
        let it = Watched::ready();
        for number in 0..100 {
            let (temporary, checkpoint) = (it.path(&format!(".{number}")), it.path("checkpoint"));
            fs::write(&temporary, "x").unwrap();
            fs::rename(&temporary, checkpoint).unwrap();
            // Appearing is what ours do when we register.
            fs::write(it.path(&ours(number)), "").unwrap();
        }
        fs::remove_file(it.path("checkpoint")).unwrap();
        let _listener = it.listen();

        // The first thing said after the first check, so nothing was said of all that.
        let event = it.next();
        assert!(matches!(event, Event::KubeletAppeared(_)), "{event:?}");

        fs::remove_file(it.path(&ours(7))).unwrap();
        it.expect_disturbed();
        // One of another process has come, and may be for the same resource.
        fs::write(it.path("chandler-01234567-0badcafe-0.sock"), "").unwrap();
        it.expect_disturbed();
    }

    #[test]
    fn a_directory_that_comes_later_is_found() {
        let it = Watched::new(|_| {});
        make_dir(it.root.path());
        let _listener = it.listen();

        it.expect_kubelet(it.identity());
    }

    #[test]
    fn a_directory_that_is_deleted_and_made_again_is_watched_again() {
        let it = Watched::ready();
        for _ in 0..3 {
            let listener = it.listen();
            it.expect_kubelet(it.identity());
            fs::remove_dir_all(it.root.path().join("a/b")).unwrap();
            it.expect_gone();
            drop(listener);
            make_dir(it.root.path());
        }
    }

    #[test]
    fn a_directory_that_is_moved_away_is_not_watched_any_more() {
        let it = Watched::ready();
        let _listener = it.listen();
        it.expect_kubelet(it.identity());

        fs::rename(it.root.path().join("a/b/plugins"), it.root.path().join("aside")).unwrap();
        it.expect_gone();
        make_dir(it.root.path());
        let _other = it.listen();

        it.expect_kubelet(it.identity());
    }

    #[test]
    fn what_is_lost_in_a_full_inbox_is_found_by_the_next_check() {
        let root = tempfile::tempdir().unwrap();
        make_dir(root.path());
        let dir = root.path().join("a/b/plugins");
        let (sender, events) = bounded(1);
        let watch = Watch::start(&dir, sender).unwrap();
        for _ in 0..20 {
            drop(UnixListener::bind(dir.join(KUBELET_SOCKET)).unwrap());
            fs::remove_file(dir.join(KUBELET_SOCKET)).unwrap();
        }
        let _listener = UnixListener::bind(dir.join(KUBELET_SOCKET)).unwrap();
        let identity = socket::identity(&dir.join(KUBELET_SOCKET)).unwrap();

        let is_it = |it: &Event| matches!(it, Event::KubeletAppeared(it) if *it == identity);
        while !is_it(&events.recv_timeout(PATIENCE).unwrap()) {}
        drop(watch);
    }
}
