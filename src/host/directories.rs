//! A set of directories whose entries come and go, watched by inotify (inotify(7)).
//!
//! A directory that does not exist is waited for in its nearest ancestor that does, and found again
//! when it was deleted and made anew. This is no thread: whoever has one polls it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor},
};

use crate::host::{
    Host,
    deadline::Deadline,
    inotifier::Inotifier,
    socket::{self, FileIdentity},
    whereabouts::Whereabouts,
};

/// How often the directories are checked without an event, where all of them are watched: inotify does
/// not report that a parent of one was moved.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// The same where one does not exist or cannot be watched.
const CHECK_MISSING_EVERY: Duration = Duration::from_secs(10);

/// How often we try to find a directory before we wait for the next event.
const FIND_TRIES: u32 = 16;

/// What is reported beside names that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Nothing. For device nodes, which would otherwise be reported each time that somebody uses one.
    Names,
    /// Files that were written to and closed.
    Content,
}

/// What has happened since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Events were lost, or there are none: anything may have happened.
    pub lost: bool,
    /// The directories, as they were asked for, whose entries came or went, or which did so themselves.
    pub directories: BTreeSet<PathBuf>,
}

/// Directories that are watched.
#[derive(Debug)]
pub struct Directories {
    host: Host,
    inotify: Inotifier,
    /// When anything may have happened again, where inotify does not tell.
    check_at: Deadline,
    events: AddWatchFlags,
    // Those of which content is reported, whatever the interest in the others.
    with_content: BTreeSet<PathBuf>,
    wanted: BTreeMap<PathBuf, Option<Watched>>,
    // How many of `wanted` use a watch: two may wait in the same ancestor.
    users: BTreeMap<WatchDescriptor, usize>,
    // What cannot be watched, and has been logged.
    warned: BTreeSet<PathBuf>,
    whereabouts: Option<Whereabouts>,
}

/// Where a directory is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    /// The directory, or the nearest ancestor that exists.
    path: PathBuf,
    file: FileIdentity,
    watch: WatchDescriptor,
}

impl Directories {
    /// None yet, of those on `host`. This touches no file.
    pub fn new(host: Host, interest: Interest) -> io::Result<Directories> {
        let inotify = Inotifier::new()?;
        let mut events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if interest == Interest::Content {
            events |= AddWatchFlags::IN_CLOSE_WRITE;
        }
        let (wanted, users, warned) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let check_at = Deadline::after(CHECK_MISSING_EVERY);
        let (with_content, whereabouts) = (BTreeSet::new(), None);
        Ok(Directories {
            host,
            inotify,
            check_at,
            events,
            with_content,
            wanted,
            users,
            warned,
            whereabouts,
        })
    }

    /// From the next [`Directories::watch`] on, files that are written to in these are reported, too.
    pub fn heed_content(&mut self, of: BTreeSet<PathBuf>) {
        let changed: Vec<PathBuf> = self.with_content.symmetric_difference(&of).cloned().collect();
        self.with_content = of;
        // They are found again, with other events.
        changed.iter().for_each(|it| self.leave(it));
    }

    /// From now on, it is said which directory is being found or watched.
    pub fn seen_by(self, whereabouts: Whereabouts) -> Directories {
        Directories { whereabouts: Some(whereabouts), ..self }
    }

    /// Watches `wanted` and no others. What is there already is not reported.
    pub fn watch(&mut self, wanted: impl IntoIterator<Item = PathBuf>) {
        let wanted: BTreeSet<PathBuf> = wanted.into_iter().collect();
        let old: Vec<PathBuf> =
            self.wanted.keys().filter(|it| !wanted.contains(*it)).cloned().collect();
        for path in old {
            self.leave(&path);
            self.wanted.remove(&path);
        }
        for path in wanted {
            self.wanted.entry(path).or_default();
        }
        if self.inotify.works() {
            self.find(&mut Changes::default());
        }
    }

    /// How long to wait for an event before [`Directories::read`] is called all the same.
    pub fn patience(&self) -> Duration {
        let is_watched = |(path, watched): (&PathBuf, &Option<Watched>)| {
            watched.as_ref().is_some_and(|it| it.path == *path)
        };
        match self.wanted.iter().all(is_watched) {
            true => CHECK_EVERY,
            false => CHECK_MISSING_EVERY,
        }
    }

    /// Reads all that has happened.
    pub fn read(&mut self) -> io::Result<Changes> {
        let mut changes = Changes::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in &events {
                        self.happened(event, &mut changes);
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
        if self.inotify.works() {
            self.find(&mut changes);
        } else if self.check_at.has_passed() {
            self.check_at = Deadline::after(CHECK_MISSING_EVERY);
            changes.lost = true;
        }
        Ok(changes)
    }

    fn happened(&mut self, event: &InotifyEvent, changes: &mut Changes) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            changes.lost = true;
            return;
        }
        let is_end = event.mask.intersects(end_events());
        for (path, watched) in &mut self.wanted {
            let Some(at) = watched.as_ref().filter(|it| it.watch == event.wd) else { continue };
            // In an ancestor, only the next step on the way down matters, and `find` checks that in
            // any case.
            if at.path == *path {
                changes.directories.insert(path.clone());
            }
            if is_end {
                // What is found under its name may well have the same inode, and no watch.
                *watched = None;
            }
        }
        if is_end && self.users.remove(&event.wd).is_some() {
            // Fails when the directory is gone, and the watch with it.
            _ = self.inotify.rm_watch(event.wd);
        }
    }

    /// Makes sure that each directory is watched, or the nearest ancestor that exists.
    fn find(&mut self, changes: &mut Changes) {
        let paths: Vec<PathBuf> = self.wanted.keys().cloned().collect();
        for path in paths {
            // Again until nothing has changed while the watch was being set: directories are made
            // one right after the other. A few times, because they might be made and deleted for ever.
            if let Some(whereabouts) = &self.whereabouts {
                whereabouts.enter(&path);
            }
            for _ in 0..FIND_TRIES {
                if !self.find_one(&path, changes) {
                    break;
                }
            }
            if let Some(whereabouts) = &self.whereabouts {
                whereabouts.leave();
            }
        }
    }

    /// Whether something was done, so that this must be called once more.
    fn find_one(&mut self, path: &Path, changes: &mut Changes) -> bool {
        let nearest = path.ancestors().find_map(|at| {
            let real = self.host.locate(at).ok()?;
            let file = socket::dir_identity(&real).ok()?;
            Some((at.to_owned(), real, file))
        });
        let old = self.wanted.get(path).cloned().flatten();
        let Some((at, real, file)) = nearest else {
            self.leave(path);
            return false;
        };
        if old.as_ref().is_some_and(|it| it.path == at && it.file == file) {
            return false;
        }
        if at == path || old.is_some_and(|it| it.path == path) {
            changes.directories.insert(path.to_owned());
        }
        self.leave(path);
        let mut events = self.events;
        if self.with_content.contains(path) {
            events |= AddWatchFlags::IN_CLOSE_WRITE;
        }
        match self.inotify.add_watch(&real, events) {
            Ok(watch) => {
                *self.users.entry(watch).or_default() += 1;
                self.wanted.insert(path.to_owned(), Some(Watched { path: at, file, watch }));
                true
            }
            // Gone again.
            Err(Errno::ENOENT | Errno::ENOTDIR) => true,
            Err(err) => {
                if self.warned.insert(path.to_owned()) {
                    log::warn!(
                        "directory={} cannot be watched: {err}; changes in it are found late",
                        path.display()
                    );
                }
                false
            }
        }
    }

    /// Stops watching for `path`, unless another path needs the same watch.
    fn leave(&mut self, path: &Path) {
        let Some(old) = self.wanted.get_mut(path).and_then(Option::take) else { return };
        let Some(n_users) = self.users.get_mut(&old.watch) else { return };
        *n_users -= 1;
        if *n_users == 0 {
            self.users.remove(&old.watch);
            _ = self.inotify.rm_watch(old.watch);
        }
    }
}

impl AsFd for Directories {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The directory is not where it was. The kernel reports the last two without being asked.
pub(crate) fn end_events() -> AddWatchFlags {
    AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_IGNORED
        | AddWatchFlags::IN_UNMOUNT
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    struct Watched {
        root: TempDir,
        directories: Directories,
    }

    impl Watched {
        fn new(prepared: &[&str], wanted: &[&str], interest: Interest) -> Watched {
            let root = tempfile::tempdir().unwrap();
            for dir in prepared {
                fs::create_dir_all(root.path().join(dir)).unwrap();
            }
            let wanted = wanted.iter().map(|it| Path::new("/").join(it));
            let host = Host::new(root.path());
            let mut directories = Directories::new(host, interest).unwrap();
            directories.watch(wanted);
            Watched { root, directories }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        #[track_caller]
        fn expect(&mut self, directories: &[&str]) {
            let changes = self.directories.read().unwrap();
            let found: Vec<&str> =
                changes.directories.iter().map(|it| it.to_str().unwrap()).collect();
            assert_eq!(found, directories);
            assert!(!changes.lost);
        }
    }

    #[test]
    fn names_that_come_and_go_are_reported_by_directory() {
        let mut it = Watched::new(&["dev/snd"], &["dev", "dev/snd"], Interest::Names);
        it.expect(&[]);
        fs::write(it.path("dev/tty0"), "").unwrap();
        it.expect(&["/dev"]);
        fs::write(it.path("dev/tty0"), "content").unwrap();
        it.expect(&[]);
        fs::rename(it.path("dev/tty0"), it.path("dev/snd/tty0")).unwrap();
        it.expect(&["/dev", "/dev/snd"]);
        fs::remove_file(it.path("dev/snd/tty0")).unwrap();
        it.expect(&["/dev/snd"]);
    }

    #[test]
    fn content_is_reported_where_it_matters() {
        let mut it = Watched::new(&["etc"], &["etc"], Interest::Content);
        fs::write(it.path("etc/config.yaml"), "a").unwrap();
        it.expect(&["/etc"]);
        fs::write(it.path("etc/config.yaml"), "b").unwrap();
        it.expect(&["/etc"]);
    }

    #[test]
    fn content_of_some_directories_is_reported_and_of_others_is_not() {
        let mut it = Watched::new(&["dev", "run"], &["dev", "run/cdi"], Interest::Names);
        it.directories.heed_content([PathBuf::from("/run/cdi")].into());
        it.directories.watch(["/dev", "/run/cdi"].map(PathBuf::from));
        fs::create_dir(it.path("run/cdi")).unwrap();
        fs::write(it.path("dev/a"), "").unwrap();
        it.expect(&["/dev", "/run/cdi"]);
        fs::write(it.path("run/cdi/a"), "").unwrap();
        it.expect(&["/run/cdi"]);
        fs::write(it.path("run/cdi/a"), "b").unwrap();
        fs::write(it.path("dev/a"), "b").unwrap();
        it.expect(&["/run/cdi"]);
        it.directories.heed_content(BTreeSet::new());
        it.directories.watch(["/dev", "/run/cdi"].map(PathBuf::from));
        it.expect(&[]);
        fs::write(it.path("run/cdi/a"), "c").unwrap();
        it.expect(&[]);
    }

    #[test]
    fn a_directory_that_does_not_exist_is_waited_for_step_by_step() {
        let mut it =
            Watched::new(&["dev"], &["dev/serial/by-id", "dev/serial/by-path"], Interest::Names);
        fs::write(it.path("dev/other"), "").unwrap();
        it.expect(&[]);
        fs::create_dir(it.path("dev/serial")).unwrap();
        it.expect(&[]);
        fs::create_dir(it.path("dev/serial/by-id")).unwrap();
        it.expect(&["/dev/serial/by-id"]);
        fs::write(it.path("dev/serial/by-id/x"), "").unwrap();
        it.expect(&["/dev/serial/by-id"]);
        fs::create_dir(it.path("dev/serial/by-path")).unwrap();
        it.expect(&["/dev/serial/by-path"]);
    }

    #[test]
    fn a_directory_that_is_made_with_all_its_content_is_reported() {
        let mut it = Watched::new(&["dev"], &["dev/serial/by-id"], Interest::Names);
        fs::create_dir_all(it.path("dev/serial/by-id")).unwrap();
        fs::write(it.path("dev/serial/by-id/x"), "").unwrap();
        it.expect(&["/dev/serial/by-id"]);
        fs::remove_file(it.path("dev/serial/by-id/x")).unwrap();
        it.expect(&["/dev/serial/by-id"]);
    }

    #[test]
    fn a_directory_is_found_again_however_often_it_is_deleted_and_made() {
        let mut it = Watched::new(&["dev"], &["dev/snd"], Interest::Names);
        for _ in 0..20 {
            fs::create_dir(it.path("dev/snd")).unwrap();
            it.expect(&["/dev/snd"]);
            fs::write(it.path("dev/snd/pcm"), "").unwrap();
            it.expect(&["/dev/snd"]);
            fs::remove_dir_all(it.path("dev")).unwrap();
            it.expect(&["/dev/snd"]);
            fs::create_dir(it.path("dev")).unwrap();
            it.expect(&[]);
        }
        assert_eq!(it.directories.users.len(), 1);
    }

    #[test]
    fn a_directory_that_is_replaced_by_another_is_noticed() {
        let mut it = Watched::new(&["a/dev", "b/dev"], &["a/dev"], Interest::Names);
        fs::rename(it.path("a"), it.path("c")).unwrap();
        fs::rename(it.path("b"), it.path("a")).unwrap();
        it.expect(&["/a/dev"]);
        fs::write(it.path("a/dev/x"), "").unwrap();
        it.expect(&["/a/dev"]);
        fs::write(it.path("c/dev/x"), "").unwrap();
        it.expect(&[]);
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let mut it = Watched::new(&["real/dir"], &["link/dir"], Interest::Names);
        std::os::unix::fs::symlink("/real", it.path("link")).unwrap();
        it.expect(&["/link/dir"]);
        fs::write(it.path("real/dir/x"), "").unwrap();
        it.expect(&["/link/dir"]);
    }
}
