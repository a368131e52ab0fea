//! What one scan has read of the host already.
//!
//! Many devices have the same parents, and a scan needs each of them for several reasons.

use std::{
    collections::HashMap,
    fs,
    hash::Hash,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::host::{Host, files::absent_as_none};

/// How many paths are noted of each kind: a thousand devices. Further ones are read again, rather than
/// remembered at the cost of megabytes.
const NOTES_MAX: usize = 4096;

/// What was seen, by path. Errors are not noted.
#[derive(Debug, Default)]
pub(super) struct Notes {
    attributes: Mutex<HashMap<String, Option<String>>>,
    resolved: Mutex<HashMap<PathBuf, PathBuf>>,
    unready: AtomicBool,
}

impl Host {
    /// Something has no value yet, and nobody will tell when it has.
    pub fn note_unready(&self) {
        if let Some(notes) = &self.notes {
            notes.unready.store(true, Ordering::Relaxed);
        }
    }

    /// Whether this scan has noted that.
    pub fn is_unready(&self) -> bool {
        self.notes.as_ref().is_some_and(|it| it.unready.load(Ordering::Relaxed))
    }

    /// Whether a directory has the entry `path` now, whatever this scan has noted of it. A link is not followed.
    pub fn has_entry(&self, path: &str) -> io::Result<bool> {
        let at = self.entry(path)?;
        Ok(absent_as_none(at.map(fs::symlink_metadata).transpose())?.flatten().is_some())
    }
}

impl Notes {
    /// An attribute, or that there is none.
    pub(super) fn attribute(
        &self,
        path: &str,
        read: impl FnOnce() -> io::Result<Option<String>>,
    ) -> io::Result<Option<String>> {
        noted(&self.attributes, path, read)
    }

    /// A path without links.
    pub(super) fn resolved(
        &self,
        path: &Path,
        resolve: impl FnOnce() -> io::Result<PathBuf>,
    ) -> io::Result<PathBuf> {
        noted(&self.resolved, path, resolve)
    }
}

fn noted<Q, V>(
    notes: &Mutex<HashMap<Q::Owned, V>>,
    key: &Q,
    read: impl FnOnce() -> io::Result<V>,
) -> io::Result<V>
where
    Q: ToOwned + Hash + Eq + ?Sized,
    Q::Owned: Hash + Eq,
    V: Clone,
{
    if let Some(seen) = notes.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
        return Ok(seen.clone());
    }
    // Not under the lock: a file may hang.
    let seen = read()?;
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() < NOTES_MAX {
        notes.insert(key.to_owned(), seen.clone());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::host::Host;

    #[test]
    fn one_look_sees_one_state_and_the_next_the_next() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/a")).unwrap();
        fs::write(root.path().join("sys/a/x"), "1\n").unwrap();
        let host = Host::new(root.path());
        let scan_host = host.for_one_scan();
        let read = |host: &Host, path: &str| host.attribute(path).unwrap();
        assert_eq!(read(&scan_host, "/sys/a/x").as_deref(), Some("1"));
        assert_eq!(read(&scan_host, "/sys/a/y"), None);

        fs::write(root.path().join("sys/a/x"), "2\n").unwrap();
        fs::write(root.path().join("sys/a/y"), "3\n").unwrap();

        assert_eq!(read(&scan_host, "/sys/a/x").as_deref(), Some("1"));
        assert_eq!(read(&scan_host, "/sys/a/y"), None);
        assert_eq!(read(&host.for_one_scan(), "/sys/a/x").as_deref(), Some("2"));
        assert_eq!(read(&host, "/sys/a/y").as_deref(), Some("3"));
    }
}
