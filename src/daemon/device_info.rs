//! The files that tell network plugins of devices: the thread `device-info`.
//!
//! There is a file for each device that is listed, whether a pod has it or not: it says what the device is, and
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
    decide::allocate::device_info,
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

/// Writes the files. What is written stays when it is dropped: the network of a pod may be made anew meanwhile.
#[derive(Debug)]
pub(super) struct DeviceInfoWriter {
    dir: PathBuf,
    wanted: Wanted,
    /// There is one from the first file on.
    latest: Option<Latest<Wanted>>,
}

impl DeviceInfoWriter {
    /// Nothing is done before the first file.
    pub(super) fn new(dir: PathBuf) -> DeviceInfoWriter {
        DeviceInfoWriter { dir, wanted: Wanted::new(), latest: None }
    }

    /// These devices are listed now. Never waits.
    pub(super) fn publish(&mut self, snapshot: &Snapshot) {
        let files = device_info::files(snapshot);
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
            match start(&self.dir) {
                Ok(latest) => self.latest = Some(latest),
                // The next list tries again.
                Err(err) => log::error!("thread=device-info cannot start: {err}"),
            }
        }
        if let Some(latest) = &self.latest {
            latest.put(self.wanted.clone());
        }
        self.wanted.retain(|_, files| !files.is_empty());
    }
}

/// Nobody joins the thread: the directory may lie on a dead mount.
fn start(dir: &Path) -> io::Result<Latest<Wanted>> {
    let (latest, inbox) = Latest::<Wanted>::new();
    let mut directory = Directory { path: dir.to_owned(), said: None };
    Worker::spawn_detached("device-info", move || {
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
    /// What was said last of why it cannot be written.
    said: Option<String>,
}

impl Directory {
    /// Writes what is not there as it should be, and removes what nobody wants. Where there is no directory, there is
    /// no network plugin that would read it.
    fn update(&mut self, wanted: &Wanted) {
        if socket::dir_identity(&self.path).is_err() {
            return;
        }
        let said = self.try_update(wanted).err().map(|err| report::chain(&err));
        if let Some(what) = said.as_ref().filter(|it| self.said.as_ref() != Some(it)) {
            log::warn!(
                "dir={} cannot tell network plugins of devices: {what}",
                self.path.display()
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
        let is_ours = |name: &str| wanted.keys().any(|it| device_info::is_of(it, name));
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
        let mut directory = Directory { path: path.clone(), said: None };
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
