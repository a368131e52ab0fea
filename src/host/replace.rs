//! Files of ours that are replaced as a whole: a reader finds the old or the new one and never half of it,
//! whenever a writer is killed or the power fails.
//!
//! Who writes holds a lock beside the file. So a temporary file that is there when the lock is taken was
//! left by a writer that was killed, and is in nobody's use.

#![expect(clippy::disallowed_methods, reason = "this is how files are replaced for the others")]

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    unistd::{AccessFlags, access},
};

use crate::host::deadline::Deadline;

/// How often a lock that somebody else holds is tried again. It is held for some milliseconds.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How old a temporary file of an earlier version must be to be swept. Those versions took no lock, and one
/// of them may be writing beside us during an update.
const STRANGER_AGE: Duration = Duration::from_secs(60);

/// An error if this process may not make files in the directory `path`.
pub fn check_writable(path: &Path) -> io::Result<()> {
    Ok(access(path, AccessFlags::W_OK)?)
}

/// The right to write one file and its copies. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct WriteLock {
    dir: PathBuf,
    name: String,
    _lock: Flock<File>,
}

impl WriteLock {
    /// Takes the lock of the file `path`, or waits for it for `patience`. The directory is made if it is not
    /// there. An error of the kind `WouldBlock` if somebody else keeps it.
    pub fn take(path: &Path, patience: Duration) -> io::Result<WriteLock> {
        let (dir, name) = split(path);
        fs::create_dir_all(&dir)?;
        let at = dir.join(format!(".{name}.lock"));
        // For reading only: whoever watches the directory would take the end of writing for news.
        let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = || File::options().read(true).mode(0o600).custom_flags(flags.bits()).open(&at);
        let until = Deadline::after(patience);
        let mut file = file()?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(WriteLock { dir, name, _lock: lock }),
                Err((file, Errno::EWOULDBLOCK)) if !until.has_passed() => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let what = format!("another process keeps the lock {}", at.display());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
                }
                Err((_, err)) => return Err(err.into()),
            };
            until.min(Deadline::after(LOCK_RETRY)).wait();
        }
    }

    /// Replaces the file, and is back when a loss of power cannot undo it.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        self.put(&self.name, text)
    }

    /// Replaces another file of the directory, where one lock is for all that we have there.
    pub fn replace_beside(&self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text)
    }

    /// Removes another file of the directory, if it is there.
    pub fn remove_beside(&self, name: &str) -> io::Result<()> {
        remove_if_there(&self.dir.join(name)).map(drop)
    }

    /// Replaces the copy of the file whose name ends with `suffix`, in the same way.
    pub fn replace_copy(&self, suffix: &str, text: &str) -> io::Result<()> {
        self.put(&format!("{}{suffix}", self.name), text)
    }

    /// Removes the file, if it is there. The file of the lock stays: somebody may be waiting for it, and
    /// would hold a lock that nobody else sees.
    pub fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.dir.join(&self.name)).map(drop)
    }

    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.temporary();
        let result =
            self.write_new(&new, text).and_then(|()| fs::rename(&new, self.dir.join(name)));
        if result.is_err() {
            // What is left of a full disk would only be in the way.
            drop(fs::remove_file(&new));
        }
        result?;
        File::open(&self.dir)?.sync_all()
    }

    fn write_new(&self, new: &Path, text: &str) -> io::Result<()> {
        self.remove_temporary()?;
        let mut file = File::options().write(true).create_new(true).open(new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Gives the file, whatever it is, a second name that ends with `suffix`, in place of what had that name.
    /// What cannot have two names is moved.
    pub fn set_aside(&self, suffix: &str) -> io::Result<PathBuf> {
        let (from, to) =
            (self.dir.join(&self.name), self.dir.join(format!("{}{suffix}", self.name)));
        let new = self.temporary();
        self.remove_temporary()?;
        if fs::hard_link(&from, &new).is_err() {
            fs::rename(&from, &new)?;
        }
        fs::rename(&new, &to)?;
        Ok(to)
    }

    /// Removes what writers have left that were killed. Gives how many files there were.
    pub fn sweep(&self) -> io::Result<usize> {
        let mut n_removed = usize::from(self.remove_temporary()?);
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let is_old = || -> io::Result<bool> {
                let metadata = entry.metadata()?;
                let age = SystemTime::now().duration_since(metadata.modified()?);
                Ok(metadata.is_file() && age.is_ok_and(|it| it >= STRANGER_AGE))
            };
            // It may have become what it was for meanwhile.
            if self.is_of_earlier_version(&entry.file_name().to_string_lossy())
                && is_old().unwrap_or(false)
                && fs::remove_file(entry.path()).is_ok()
            {
                n_removed += 1;
            }
        }
        Ok(n_removed)
    }

    /// Those versions gave each writer a name of its own: `.NAME.` and 16 hex digits.
    fn is_of_earlier_version(&self, name: &str) -> bool {
        let unique = name.strip_prefix('.').and_then(|it| it.strip_prefix(self.name.as_str()));
        let unique = unique.and_then(|it| it.strip_prefix('.'));
        unique.is_some_and(|it| it.len() == 16 && it.bytes().all(|it| it.is_ascii_hexdigit()))
    }

    /// The one name of what is being written: only the holder of the lock uses it.
    fn temporary(&self) -> PathBuf {
        self.dir.join(format!(".{}.new", self.name))
    }

    fn remove_temporary(&self) -> io::Result<bool> {
        remove_if_there(&self.temporary())
    }
}

/// Gives whether it was there.
fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

fn split(path: &Path) -> (PathBuf, String) {
    let dir = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (dir.to_owned(), name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(10);

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_writer_waits_for_another_only_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join("a.json");
        let elder = WriteLock::take(&path, Duration::ZERO).unwrap();
        let err = WriteLock::take(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::WouldBlock);
        assert!(err.to_string().contains("a.json.lock"), "{err}");
        WriteLock::take(&path.with_file_name("b.json"), Duration::ZERO).unwrap();
        std::thread::scope(|it| {
            let younger = it.spawn(|| WriteLock::take(&path, PATIENT).map(drop));
            drop(elder);
            younger.join().unwrap().unwrap();
        });
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_what_a_living_one_needs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let old = [".a.json.new", ".a.json.0123456789abcdef"];
        let others = [
            ".a.json.0123456789abcde0",
            ".a.json.0123456789abcdeg",
            ".b.json.0123456789abcdef",
            ".b.json.new",
            "a.json",
        ];
        for name in old.iter().chain(&others) {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        let long_ago = SystemTime::now() - 2 * STRANGER_AGE;
        for name in [old[1], others[1], others[2]] {
            let file = File::options().write(true).open(dir.path().join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        let lock = WriteLock::take(&path, PATIENT).unwrap();
        assert_eq!(lock.sweep().unwrap(), 2);
        let mut left = names(dir.path());
        left.retain(|it| it != ".a.json.lock");
        assert_eq!(left, others);
    }

    #[test]
    fn a_write_that_finds_the_leavings_of_another_succeeds_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(dir.path().join(".a.json.new"), "half").unwrap();
        let lock = WriteLock::take(&path, PATIENT).unwrap();
        lock.replace("one").unwrap();
        lock.replace_copy(".copy", "one").unwrap();
        lock.replace("two").unwrap();
        assert_eq!(names(dir.path()), [".a.json.lock", "a.json", "a.json.copy"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_to_string(path.with_extension("json.copy")).unwrap(), "one");
    }

    #[test]
    fn a_file_of_any_kind_is_set_aside_and_a_new_one_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let lock = WriteLock::take(&path, PATIENT).unwrap();
        fs::write(&path, "broken").unwrap();
        let aside = lock.set_aside(".bad").unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), "broken");
        assert_eq!(fs::read_to_string(&path).unwrap(), "broken", "until there is another");
        lock.replace("good").unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), "broken");

        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        lock.set_aside(".bad").unwrap();
        lock.replace("good").unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(&aside).unwrap();
        fs::create_dir(&path).unwrap();
        lock.set_aside(".bad").unwrap();
        lock.replace("good").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "good");
    }
}
