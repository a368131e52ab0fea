//! The files that tell others of devices: the threads `device-info`, for network plugins, and `labels`, for Node Feature
//! Discovery.
//!
//! For network plugins there is a file for each device that is listed, whether a pod has it or not: it says what the device is, and
//! so it is there before anybody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::RecvTimeoutError;

use crate::{
    decide::allocate::{device_info, labels},
    host::{files, latest::Latest, replace::WriteLock, socket, worker::Worker},
    model::{name::ResourceName, snapshot::Snapshot},
    operate::report,
};

/// How often it is checked that all files are there. The directory comes with the network plugin, which may be
/// installed after us.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How long another process of ours may be writing.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What the lock of the directory is called.
const LOCK: &str = "chandler";

/// More than any of the files.
const FILE_LEN_MAX: usize = 64 * 1024;

/// What is to be there, by resource: texts by the names of files.
type Wanted = BTreeMap<ResourceName, Arc<BTreeMap<String, String>>>;

/// Whom the files are for.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// The name of the thread.
    thread: &'static str,
    /// Who reads them, in a few words.
    who: &'static str,
    /// The files for what is listed of a resource.
    files: fn(&Snapshot) -> BTreeMap<String, String>,
    /// Whether a file of this name was written for the resource.
    is_of: fn(&ResourceName, &str) -> bool,
}

const NETWORK_PLUGINS: Reader = Reader {
    thread: "device-info",
    who: "network plugins",
    files: device_info::files,
    is_of: device_info::is_of,
};

const LABELS: Reader = Reader {
    thread: "labels",
    who: "Node Feature Discovery",
    files: labels::files,
    is_of: labels::is_of,
};

/// Writes the files. What is written stays when it is dropped: the network of a pod may be made anew meanwhile.
#[derive(Debug)]
pub(super) struct DeviceInfoWriter {
    dir: PathBuf,
    reader: Reader,
    wanted: Wanted,
    /// There is one from the first file on.
    latest: Option<Latest<Wanted>>,
}

impl DeviceInfoWriter {
    /// Those for network plugins and, where there is a directory for them, for labels of the node. Nothing is done
    /// before the first file.
    pub(super) fn all(dir: PathBuf, labels_dir: Option<PathBuf>) -> Vec<DeviceInfoWriter> {
        let labels = labels_dir.map(|it| DeviceInfoWriter::of(LABELS, it));
        [DeviceInfoWriter::of(NETWORK_PLUGINS, dir)].into_iter().chain(labels).collect()
    }

    fn of(reader: Reader, dir: PathBuf) -> DeviceInfoWriter {
        DeviceInfoWriter { dir, reader, wanted: Wanted::new(), latest: None }
    }

    /// These devices are listed now. Never waits.
    pub(super) fn publish(&mut self, snapshot: &Snapshot) {
        let files = (self.reader.files)(snapshot);
        let before = self.wanted.get(&snapshot.resource);
        if before.map_or(files.is_empty(), |it| **it == files) {
            return;
        }
        self.wanted.insert(snapshot.resource.clone(), Arc::new(files));
        self.tell();
    }

    /// The resource is not served any more.
    pub(super) fn retire(&mut self, resource: &ResourceName) {
        if let Some(files) = self.wanted.get_mut(resource) {
            *files = Arc::default();
            self.tell();
        }
    }

    fn tell(&mut self) {
        if self.latest.is_none() {
            match start(self.reader, &self.dir) {
                Ok(latest) => self.latest = Some(latest),
                // The next list tries again.
                Err(err) => log::error!("thread={} cannot start: {err}", self.reader.thread),
            }
        }
        if let Some(latest) = &self.latest {
            latest.put(self.wanted.clone());
        }
        self.wanted.retain(|_, files| !files.is_empty());
    }
}

/// Nobody joins the thread: the directory may lie on a dead mount.
fn start(reader: Reader, dir: &Path) -> io::Result<Latest<Wanted>> {
    let (latest, inbox) = Latest::<Wanted>::new();
    let mut directory = Directory { path: dir.to_owned(), reader, said: None };
    Worker::spawn_detached(reader.thread, move || {
        let mut wanted = Wanted::new();
        loop {
            match inbox.recv_timeout(CHECK_EVERY) {
                Ok(newer) => wanted = newer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            directory.update(&wanted);
        }
    })?;
    Ok(latest)
}

/// The directory of the files.
struct Directory {
    path: PathBuf,
    reader: Reader,
    /// What was said last of why it cannot be written.
    said: Option<String>,
}

impl Directory {
    /// Writes what is not there as it should be, and removes what nobody wants. Where there is no directory, there is
    /// nobody who would read it.
    fn update(&mut self, wanted: &Wanted) {
        if socket::dir_identity(&self.path).is_err() {
            return;
        }
        let said = self.try_update(wanted).err().map(|err| report::chain(&err));
        if let Some(what) = said.as_ref().filter(|it| self.said.as_ref() != Some(it)) {
            log::warn!(
                "dir={} cannot tell {} of devices: {what}",
                self.path.display(),
                self.reader.who
            );
        }
        self.said = said;
    }

    fn try_update(&self, wanted: &Wanted) -> io::Result<()> {
        let names = socket::names(&self.path)?;
        let names: BTreeSet<&str> = names.iter().filter_map(|it| it.to_str()).collect();
        let files = || wanted.values().flat_map(|it| it.iter());
        let is_there = |name: &str, text: &str| {
            let path = self.path.join(name);
            names.contains(name) && files::read_text(&path, FILE_LEN_MAX).is_ok_and(|it| it == text)
        };
        let missing: Vec<_> = files().filter(|(name, text)| !is_there(name, text)).collect();
        let is_wanted = |name: &str| files().any(|(it, _)| it == name);
        let is_ours = |name: &str| wanted.keys().any(|it| (self.reader.is_of)(it, name));
        let left: Vec<&&str> = names.iter().filter(|it| is_ours(it) && !is_wanted(it)).collect();
        if missing.is_empty() && left.is_empty() {
            return Ok(());
        }
        let lock = WriteLock::take(&self.path.join(LOCK), LOCK_PATIENCE)?;
        for (name, text) in missing {
            lock.replace_beside(name, text)?;
        }
        left.into_iter().try_for_each(|it| lock.remove_beside(it))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn wanted(resource: &str, files: &[(&str, &str)]) -> Wanted {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Wanted::from([(ResourceName::parse(resource).unwrap(), Arc::new(files.collect()))])
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = socket::names(dir).unwrap();
        let names = names.into_iter().map(|it| it.into_string().unwrap());
        let mut names: Vec<String> = names.filter(|it| !it.starts_with('.')).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_where_somebody_reads_them_and_removed_with_their_devices() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dp");
        let mut directory = Directory { path: path.clone(), reader: NETWORK_PLUGINS, said: None };
        let (a, b) = ("a.io-x-0000:01:00.0-device.json", "a.io-x-0000:01:00.1-device.json");
        directory.update(&wanted("a.io/x", &[(a, "{1}"), (b, "{2}")]));
        assert!(!path.exists(), "nobody reads it");

        // Of a process before, and of another plugin.
        fs::create_dir(&path).unwrap();
        for name in ["a.io-x-0000:09:00.0-device.json", "a.io-y-0000:09:00.0-device.json"] {
            fs::write(path.join(name), "{}").unwrap();
        }
        directory.update(&wanted("a.io/x", &[(a, "{1}"), (b, "{2}")]));
        assert_eq!(names(&path), [a, b, "a.io-y-0000:09:00.0-device.json"]);
        assert_eq!(files::read_text(&path.join(b), 100).unwrap(), "{2}");

        directory.update(&wanted("a.io/x", &[(b, "{3}")]));
        assert_eq!(names(&path), [b, "a.io-y-0000:09:00.0-device.json"]);
        assert_eq!(files::read_text(&path.join(b), 100).unwrap(), "{3}");

        directory.update(&wanted("a.io/x", &[]));
        assert_eq!(names(&path), ["a.io-y-0000:09:00.0-device.json"]);
    }
}
