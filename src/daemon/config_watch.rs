//! The configuration file: the thread `config`.
//!
//! It watches the file's directory rather than the file, because editors rename a new file into place
//! and Kubernetes swaps a link beside it (`..data` of a ConfigMap volume). When the directory is quiet,
//! or when it is asked to, it reads and checks the file; a file that says the same says nothing.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use crate::{
    config,
    host::{
        Host,
        deadline::Deadline,
        directories::{Directories, Interest},
        files,
        outbox::Outbox,
        wake::Wake,
        worker::{StopFd, Worker},
    },
    model::event::Event,
};

/// How long the directory must be quiet before the file is read: nobody wants half of one.
const QUIET: Duration = Duration::from_millis(100);

/// How long it may go on changing before the file is read all the same: it may be a busy one.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// A configuration file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// Watches the configuration file until it is dropped.
#[derive(Debug)]
pub(super) struct ConfigWatch {
    _worker: Worker,
}

impl ConfigWatch {
    /// Starts the thread `config`. `file` is what is known already; ringing `ask` makes it read again.
    pub(super) fn start(
        file: ConfigFile,
        ask: Wake,
        events: Sender<Event>,
    ) -> io::Result<ConfigWatch> {
        let path = std::path::absolute(&file.path)?;
        let directory = path.parent().unwrap_or(&path).to_owned();
        let directories = Directories::new(Host::new("/"), [directory], Interest::Content)?;
        let mut reader =
            ConfigReader { file, directories, ask, broken: None, outbox: Outbox::new(events) };
        let worker = Worker::spawn_polling("config", move |stop| {
            if let Err(err) = reader.run(&stop) {
                log::error!(
                    "file={} is no longer watched: {err}; a change of the configuration takes \
                     effect when chandler is started again",
                    reader.file.path.display()
                );
            }
        })?;
        Ok(ConfigWatch { _worker: worker })
    }
}

/// What the thread owns.
struct ConfigReader {
    file: ConfigFile,
    directories: Directories,
    ask: Wake,
    /// What was logged last of a file that cannot be used.
    broken: Option<String>,
    outbox: Outbox,
}

/// Why the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something in its directory has changed.
    Change,
    /// Somebody has asked.
    Request,
}

/// Changes after which the file has not been read yet.
#[derive(Debug, Clone, Copy)]
struct Burst {
    cause: Cause,
    quiet_at: Deadline,
    end: Deadline,
}

impl ConfigReader {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        // It may have changed since it was read, before we watched.
        let mut burst = Some(Burst::new(Cause::Change));
        loop {
            // Events that wait to be sent come first; we read again when there is room.
            let read_at = burst.filter(|_| self.outbox.is_empty()).map(Burst::at);
            let until = Deadline::earlier(read_at, self.outbox.deadline());
            let until =
                Deadline::earlier(until, Some(Deadline::after(self.directories.patience())));
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.directories.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.ask.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, Deadline::timeout(until)) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
            let is_asked = fds[2].any() == Some(true);
            self.outbox.flush();
            let changes = self.directories.read()?;
            if changes.lost || !changes.directories.is_empty() {
                burst = Some(burst.map_or_else(|| Burst::new(Cause::Change), Burst::goes_on));
            }
            if is_asked {
                self.ask.drain();
                burst = Some(Burst::now());
            }
            if let Some(due) = burst.filter(|it| it.at().has_passed() && self.outbox.is_empty()) {
                burst = None;
                self.read(due.cause);
            }
        }
    }

    fn read(&mut self, cause: Cause) {
        let path = &self.file.path;
        let read = files::read_text(path, config::FILE_LEN_MAX)
            .map_err(|err| format!("cannot read {}: {err}", path.display()));
        let text = match read {
            Ok(text) => text,
            Err(what) => return self.refuse(what, cause),
        };
        // A file that was broken and is as it was before has changed too.
        if text == self.file.text && self.broken.is_none() {
            if cause == Cause::Request {
                log::info!("file={} the configuration has not changed", path.display());
            }
            return;
        }
        match config::parse(&path.display().to_string(), &text) {
            Ok(config) => {
                log::info!("file={} the configuration has changed", path.display());
                self.broken = None;
                self.file.text = text;
                self.outbox.push(Event::Reconfigured(config.resources.into()));
            }
            Err(diagnostics) => self.refuse(diagnostics.to_string(), cause),
        }
    }

    /// The file cannot be used. This is logged once, and whenever somebody asks.
    fn refuse(&mut self, what: String, cause: Cause) {
        if cause == Cause::Change && self.broken.as_ref() == Some(&what) {
            return;
        }
        for line in what.lines() {
            log::error!("{line}");
        }
        log::error!("the configuration stays as it was");
        self.broken = Some(what.clone());
        self.outbox.push(Event::ReconfigureFailed(what));
    }
}

impl Burst {
    fn new(cause: Cause) -> Burst {
        Burst { cause, quiet_at: Deadline::after(QUIET), end: Deadline::after(QUIET_MAX) }
    }

    /// Whoever asks knows that the file is complete.
    fn now() -> Burst {
        let now = Deadline::after(Duration::ZERO);
        Burst { cause: Cause::Request, quiet_at: now, end: now }
    }

    fn goes_on(self) -> Burst {
        Burst { quiet_at: Deadline::after(QUIET), ..self }
    }

    fn at(self) -> Deadline {
        self.quiet_at.min(self.end)
    }
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> io::Result<ConfigFile> {
        let text = files::read_text(path, config::FILE_LEN_MAX)?;
        Ok(ConfigFile { path: path.to_owned(), text })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crossbeam_channel::{Receiver, bounded};
    use tempfile::TempDir;

    use super::*;

    struct Watched {
        dir: TempDir,
        ask: Wake,
        inbox: Receiver<Event>,
        _watch: ConfigWatch,
    }

    fn resources(n: usize) -> String {
        let each = |n| format!("  - {{ name: a/r{n}, discovery: {{ nodes: [/dev/r{n}] }} }}\n");
        format!("version: v1\nresources:\n{}", (0..n).map(each).collect::<String>())
    }

    impl Watched {
        fn new(prepare: impl FnOnce(&Path)) -> Watched {
            let dir = tempfile::tempdir().unwrap();
            prepare(dir.path());
            let file = ConfigFile::read(&dir.path().join("config.yaml")).unwrap();
            let (events, inbox) = bounded(100);
            let ask = Wake::new().unwrap();
            let _watch = ConfigWatch::start(file, ask.clone(), events).unwrap();
            Watched { dir, ask, inbox, _watch }
        }

        fn plain() -> Watched {
            Watched::new(|dir| fs::write(dir.join("config.yaml"), resources(1)).unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        #[track_caller]
        fn next(&self) -> Event {
            self.inbox.recv_timeout(Duration::from_secs(10)).expect("nothing was said")
        }

        #[track_caller]
        fn expect(&self, n_resources: usize) {
            let event = self.next();
            let Event::Reconfigured(resources) = &event else { panic!("{event:?}") };
            assert_eq!(resources.len(), n_resources);
        }

        #[track_caller]
        fn expect_failure(&self, part: &str) {
            let event = self.next();
            let Event::ReconfigureFailed(what) = &event else { panic!("{event:?}") };
            assert!(what.contains(part), "{what}");
        }

        #[track_caller]
        fn expect_silence(&self) {
            let event = self.inbox.recv_timeout(Duration::from_millis(300));
            assert!(event.is_err(), "{event:?}");
        }
    }

    #[test]
    fn a_file_that_is_written_or_renamed_into_place_is_read_once() {
        let it = Watched::plain();
        it.expect_silence();
        for n in 2..5 {
            fs::write(it.path("config.yaml"), resources(n)).unwrap();
        }
        it.expect(4);

        fs::write(it.path("new"), resources(5)).unwrap();
        fs::rename(it.path("new"), it.path("config.yaml")).unwrap();
        it.expect(5);

        fs::write(it.path("config.yaml"), resources(5)).unwrap();
        it.expect_silence();
    }

    #[test]
    fn the_swap_of_a_config_map_is_noticed() {
        let it = Watched::new(|dir| {
            fs::create_dir(dir.join("..1")).unwrap();
            fs::write(dir.join("..1/config.yaml"), resources(1)).unwrap();
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/config.yaml", dir.join("config.yaml")).unwrap();
        });
        for n in 2..5 {
            let name = format!("..{n}");
            fs::create_dir(it.path(&name)).unwrap();
            fs::write(it.path(&name).join("config.yaml"), resources(n)).unwrap();
            symlink(&name, it.path("..data_tmp")).unwrap();
            fs::rename(it.path("..data_tmp"), it.path("..data")).unwrap();
            fs::remove_dir_all(it.path(&format!("..{}", n - 1))).unwrap();
            it.expect(n);
        }
    }

    #[test]
    fn a_broken_file_is_reported_once_and_the_mended_one_even_if_it_is_as_before() {
        let it = Watched::plain();
        fs::write(it.path("config.yaml"), "version: v1\nresources: 7\nmore: 8\n").unwrap();
        it.expect_failure("more");
        fs::write(it.path("other"), "").unwrap();
        it.expect_silence();
        it.ask.wake();
        it.expect_failure("more");

        fs::write(it.path("config.yaml"), resources(1)).unwrap();
        it.expect(1);
        fs::remove_file(it.path("config.yaml")).unwrap();
        it.expect_failure("cannot read");
        fs::write(it.path("config.yaml"), resources(2)).unwrap();
        it.expect(2);
    }

    #[test]
    fn a_file_of_aliases_of_aliases_is_refused_and_the_old_configuration_stays() {
        let it = Watched::plain();
        let mut text = format!("a0: &a0 {}\n", "x".repeat(100_000));
        for n in 1..9 {
            text += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "));
        }
        fs::write(it.path("config.yaml"), text).unwrap();
        it.expect_failure("more than 2097152 bytes up to here");
        fs::write(it.path("config.yaml"), resources(2)).unwrap();
        it.expect(2);
    }

    #[test]
    fn a_directory_that_is_deleted_and_made_again_is_watched_again() {
        let it = Watched::plain();
        fs::remove_dir_all(it.dir.path()).unwrap();
        it.expect_failure("cannot read");
        fs::create_dir(it.dir.path()).unwrap();
        fs::write(it.path("config.yaml"), resources(3)).unwrap();
        it.expect(3);
    }

    #[test]
    fn who_asks_gets_an_answer_only_if_something_is_new() {
        let it = Watched::plain();
        it.ask.wake();
        it.expect_silence();
    }
}
