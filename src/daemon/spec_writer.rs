//! The specs of the Container Device Interface that container runtimes read: the thread `cdi`.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{RecvTimeoutError, Sender};

use crate::{
    decide::allocate::cdi,
    host::{files, latest::Latest, replace::WriteLock, socket, worker::Worker},
    model::{edits::Specs, event::Event},
    operate::report,
};

/// How often it is checked that all files are there, and those that could not be written are tried again. What
/// a process before us has left is removed then, unless it is wanted.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How long another process may be writing the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// More than any of our specs: thirty thousand devices with two nodes each.
const SPEC_LEN_MAX: usize = 16 * 1024 * 1024;

/// Writes specs. What is written stays when it is dropped: a container that is started again is given the
/// same names.
#[derive(Debug)]
pub(super) struct SpecWriter {
    latest: Latest<Arc<Specs>>,
}

impl SpecWriter {
    /// Starts the thread. Nobody joins it: the directory may lie on a dead mount.
    pub(super) fn start(dir: &Path, events: Sender<Event>) -> io::Result<SpecWriter> {
        let (latest, inbox) = Latest::<Arc<Specs>>::new();
        let mut directory = Directory { path: dir.to_owned(), said: BTreeMap::new() };
        Worker::spawn_detached("cdi", move || {
            let mut specs = Arc::<Specs>::default();
            let mut failures = BTreeMap::new();
            loop {
                let is_new = match inbox.recv_timeout(CHECK_EVERY) {
                    Ok(newer) => {
                        directory.remove_unwanted(&specs, &newer);
                        specs = newer;
                        true
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        directory.sweep(&specs);
                        false
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let before = std::mem::replace(&mut failures, directory.write(&specs));
                if is_new || failures != before {
                    let written = Event::SpecsWritten(Arc::clone(&specs), failures.clone());
                    if events.send(written).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(SpecWriter { latest })
    }

    /// These are to be there, and no others of ours. Never waits.
    pub(super) fn write(&self, specs: Arc<Specs>) {
        self.latest.put(specs);
    }
}

/// The directory of specs.
struct Directory {
    path: PathBuf,
    /// What was said last of a file that cannot be written.
    said: BTreeMap<String, String>,
}

impl Directory {
    /// Writes what is not there as it should be. Gives why some cannot be.
    fn write(&mut self, specs: &Specs) -> BTreeMap<crate::model::name::ResourceName, String> {
        let mut failures = BTreeMap::new();
        for (resource, text) in specs {
            let name = cdi::file_name(resource);
            match self.write_one(&name, text) {
                Ok(()) => drop(self.said.remove(&name)),
                Err(err) => {
                    let what = report::chain(&err);
                    if self.said.insert(name.clone(), what.clone()).as_ref() != Some(&what) {
                        log::warn!(
                            "resource={resource} file={} cannot write the CDI spec: {what}",
                            self.path.join(name).display()
                        );
                    }
                    failures.insert(resource.clone(), what);
                }
            }
        }
        failures
    }

    fn write_one(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.path.join(name);
        // Runtimes read the directory anew whenever something in it changes.
        if files::read_text(&path, SPEC_LEN_MAX).is_ok_and(|it| it == text) {
            return Ok(());
        }
        WriteLock::take(&path, LOCK_PATIENCE)?.replace(text)
    }

    /// Removes what was wanted and is no longer.
    fn remove_unwanted(&self, before: &Specs, after: &Specs) {
        let gone = before.keys().filter(|it| !after.contains_key(*it));
        gone.for_each(|it| self.remove(&cdi::file_name(it)));
    }

    /// Removes files of ours that nobody wants.
    fn sweep(&self, specs: &Specs) {
        let wanted: Vec<String> = specs.keys().map(cdi::file_name).collect();
        let names = socket::names(&self.path).unwrap_or_default();
        let names = names.iter().filter_map(|it| it.to_str());
        let ours = names.filter(|it| it.starts_with(cdi::FILE_PREFIX) && it.ends_with(".json"));
        ours.filter(|it| wanted.iter().all(|wanted| wanted != it)).for_each(|it| self.remove(it));
    }

    fn remove(&self, name: &str) {
        let path = self.path.join(name);
        let removed = WriteLock::take(&path, LOCK_PATIENCE).and_then(|it| it.remove());
        if let Err(err) = removed {
            log::warn!(
                "file={} cannot remove the CDI spec: {}",
                path.display(),
                report::chain(&err)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::model::name::ResourceName;

    fn specs(all: &[(&str, &str)]) -> Arc<Specs> {
        let parsed = |it: &str| ResourceName::parse(it).unwrap();
        Arc::new(all.iter().map(|(name, text)| (parsed(name), Arc::from(*text))).collect())
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = socket::names(dir).unwrap();
        let mut names: Vec<String> =
            names.into_iter().map(|it| it.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_wanted_is_there_when_it_is_said_and_what_is_not_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/cdi");
        let (events, inbox) = bounded(10);
        let writer = SpecWriter::start(&path, events).unwrap();
        let two = specs(&[("a.io/x", "{1}"), ("a.io/y", "{2}")]);
        for (specs, expected) in [
            (&two, &["chandler_a.io_x.json", "chandler_a.io_y.json"][..]),
            (&specs(&[("a.io/y", "{3}")]), &["chandler_a.io_y.json"]),
        ] {
            writer.write(Arc::clone(specs));
            let event = inbox.recv_timeout(Duration::from_secs(20)).unwrap();
            let Event::SpecsWritten(written, failures) = event else { panic!("{event:?}") };
            assert_eq!((&written, failures), (specs, BTreeMap::new()));
            let files = names(&path).into_iter().filter(|it| !it.starts_with('.'));
            assert_eq!(files.collect::<Vec<String>>(), expected);
        }
        assert_eq!(files::read_text(&path.join("chandler_a.io_y.json"), 100).unwrap(), "{3}");
    }

    #[test]
    fn what_is_in_the_way_is_said_and_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("chandler_a.io_x.json")).unwrap();
        let mut directory = Directory { path: dir.path().to_owned(), said: BTreeMap::new() };
        let failures = directory.write(&specs(&[("a.io/x", "{1}"), ("a.io/y", "{2}")]));
        let failed: Vec<String> = failures.keys().map(ToString::to_string).collect();
        assert_eq!(failed, ["a.io/x"]);
        assert_eq!(files::read_text(&dir.path().join("chandler_a.io_y.json"), 100).unwrap(), "{2}");
    }

    #[test]
    fn what_a_process_before_has_left_is_swept_and_what_others_have_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["chandler_a.io_old.json", "chandler_a.io_x.json", "nvidia.yaml"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        let directory = Directory { path: dir.path().to_owned(), said: BTreeMap::new() };
        directory.sweep(&specs(&[("a.io/x", "{}")]));
        let left = names(dir.path()).into_iter().filter(|it| !it.starts_with('.'));
        assert_eq!(left.collect::<Vec<String>>(), ["chandler_a.io_x.json", "nvidia.yaml"]);
    }
}
