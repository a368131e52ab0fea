//! The configuration file, for the thread `watch`.
//!
//! Its directory is watched rather than the file, because editors rename a new file into place
//! and Kubernetes swaps a link beside it (`..data` of a ConfigMap volume). When the directory is quiet,
//! or when somebody asks, the file is read and checked; a file that says the same says nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{self, Config, Diagnostics, quoted},
    host::{deadline::Deadline, files, outbox::Outbox},
    model::{event::Event, resource::Resource},
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
    /// The kubelet's directory, if it is another than what the file says.
    pub kubelet_dir: Option<PathBuf>,
}

/// Reads the configuration file when it is told to. Whoever has one watches the directory.
#[derive(Debug)]
pub(super) struct ConfigReader {
    file: ConfigFile,
    directory: PathBuf,
    in_use: Paths,
    /// What was said last of values that are not heeded.
    unheeded: Vec<String>,
    /// What was logged last of a file that cannot be used.
    broken: Option<String>,
    burst: Option<Burst>,
}

/// Where the file says that things are that do not change while we run. It is heeded at start only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Paths {
    plugin_dir: PathBuf,
    pod_resources: PathBuf,
    cdi_dir: PathBuf,
    device_info_dir: PathBuf,
    labels: PathBuf,
    /// Where the metrics are told, and what, as text.
    metrics: PathBuf,
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
    /// `file` is what is known already, and `config` what came of it. The file is due at once: it may have
    /// changed since it was read, before anybody watched.
    pub(super) fn new(file: ConfigFile, config: &Config) -> io::Result<ConfigReader> {
        let path = std::path::absolute(&file.path)?;
        let directory = path.parent().unwrap_or(&path).to_owned();
        let in_use = Paths::of(config);
        let burst = Some(Burst::new(Cause::Change));
        Ok(ConfigReader { file, directory, in_use, unheeded: Vec::new(), broken: None, burst })
    }

    /// The directory to watch.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// When to call [`ConfigReader::read_if_due`].
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.burst.map(Burst::at)
    }

    /// Something in the directory has changed.
    pub(super) fn changed(&mut self) {
        let burst = self.burst.take();
        self.burst = Some(burst.map_or_else(|| Burst::new(Cause::Change), Burst::goes_on));
    }

    /// Somebody asks for what is in the file.
    pub(super) fn asked(&mut self) {
        self.burst = Some(Burst::now());
    }

    /// Reads the file if it is time. What is new is sent, and the resources are given.
    pub(super) fn read_if_due(&mut self, outbox: &mut Outbox) -> Option<Arc<Vec<Resource>>> {
        let due = self.burst.take_if(|it| it.at().has_passed())?;
        match self.read(due.cause) {
            Ok(None) => None,
            Ok(Some(resources)) => {
                outbox.push(Event::Reconfigured(Arc::clone(&resources)));
                Some(resources)
            }
            Err(what) => {
                if due.cause == Cause::Request || self.broken.as_ref() != Some(&what) {
                    self.refuse(&what, outbox);
                }
                None
            }
        }
    }

    fn read(&mut self, cause: Cause) -> Result<Option<Arc<Vec<Resource>>>, String> {
        let path = &self.file.path;
        let text = files::read_text(path, config::FILE_LEN_MAX)
            .map_err(|err| format!("cannot read {}: {err}", path.display()))?;
        // A file that was broken and is as it was before has changed too.
        if text == self.file.text && self.broken.is_none() {
            if cause == Cause::Request {
                log::info!("file={} the configuration has not changed", path.display());
            }
            return Ok(None);
        }
        let file = ConfigFile { text, ..self.file.clone() };
        let config = file.parse().map_err(|err| err.to_string())?;
        log::info!("file={} the configuration has changed", path.display());
        self.broken = None;
        self.file = file;
        self.say_unheeded(&config);
        Ok(Some(config.resources.into()))
    }

    /// The file cannot be used. This is logged once, and whenever somebody asks.
    fn refuse(&mut self, what: &str, outbox: &mut Outbox) {
        for line in what.lines() {
            log::error!("{line}");
        }
        log::error!("the configuration stays as it was");
        self.broken = Some(what.to_owned());
        outbox.push(Event::ReconfigureFailed(what.to_owned()));
    }

    /// Says what needs a restart, unless it was said before.
    fn say_unheeded(&mut self, config: &Config) {
        let unheeded = self.in_use.unheeded(&Paths::of(config));
        for what in unheeded.iter().filter(|it| !self.unheeded.contains(it)) {
            log::warn!(
                "file={} {what}; it takes effect when chandler is started again",
                self.file.path.display()
            );
        }
        self.unheeded = unheeded;
    }
}

impl Paths {
    fn of(config: &Config) -> Paths {
        let Config { plugin_dir, cdi_dir, device_info_dir, labels_dir, .. } = config;
        let (plugin_dir, cdi_dir) = (plugin_dir.clone(), cdi_dir.clone());
        let device_info_dir = device_info_dir.clone();
        let labels = labels_dir.clone().unwrap_or_else(|| PathBuf::from("off"));
        let holders = |it: bool| if it { " with holders" } else { "" };
        let metrics = config.metrics.map(|it| format!("{}{}", it.listen, holders(it.holders)));
        let metrics = PathBuf::from(metrics.unwrap_or_else(|| "off".to_owned()));
        let pod_resources = config.pod_resources();
        Paths { plugin_dir, pod_resources, cdi_dir, device_info_dir, metrics, labels }
    }

    /// What differs in `new`, and so is not heeded.
    fn unheeded(&self, new: &Paths) -> Vec<String> {
        let each = [
            ("kubelet.pluginDir", &self.plugin_dir, &new.plugin_dir),
            ("kubelet.podResources", &self.pod_resources, &new.pod_resources),
            ("cdi.dir", &self.cdi_dir, &new.cdi_dir),
            ("deviceInfo.dir", &self.device_info_dir, &new.device_info_dir),
            ("metrics", &self.metrics, &new.metrics),
            ("labels.dir", &self.labels, &new.labels),
        ];
        let text = |path: &Path| quoted(&path.to_string_lossy());
        let different = each.into_iter().filter(|(_, old, new)| old != new);
        different
            .map(|(key, old, new)| format!("{key} is still {}, not {}", text(old), text(new)))
            .collect()
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
    /// Reads the file at `path`. `kubelet_dir` outranks what it says of the kubelet's directory.
    pub fn read(path: &Path, kubelet_dir: Option<&Path>) -> io::Result<ConfigFile> {
        let text = files::read_text(path, config::FILE_LEN_MAX)?;
        let kubelet_dir = kubelet_dir.map(Path::to_owned);
        Ok(ConfigFile { path: path.to_owned(), text, kubelet_dir })
    }

    /// What it says, or what is wrong with it.
    pub fn parse(&self) -> Result<Config, Diagnostics> {
        let mut config = config::parse(&self.path.display().to_string(), &self.text)?;
        if let Some(dir) = &self.kubelet_dir {
            config.plugin_dir.clone_from(dir);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crossbeam_channel::{Receiver, bounded};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        daemon::{
            cordon_watch::CordonReader,
            watch::{self, WatchThread},
        },
        host::{Host, wake::Wake},
    };

    struct Watched {
        dir: TempDir,
        _state: TempDir,
        ask: Wake,
        inbox: Receiver<Event>,
        _watch: WatchThread,
    }

    fn resources(n: usize) -> String {
        let each = |n| format!("  - {{ name: a/r{n}, discovery: {{ nodes: [/dev/r{n}] }} }}\n");
        format!("version: v1\nresources:\n{}", (0..n).map(each).collect::<String>())
    }

    impl Watched {
        fn new(prepare: impl FnOnce(&Path)) -> Watched {
            let dir = tempfile::tempdir().unwrap();
            prepare(dir.path());
            let file = ConfigFile::read(&dir.path().join("config.yaml"), None).unwrap();
            let config = file.parse().unwrap();
            let (events, inbox) = bounded(100);
            let ask = Wake::new().unwrap();
            let _state = tempfile::tempdir().unwrap();
            let watched = watch::Watched {
                host: Host::new(dir.path()),
                resources: Arc::new(config.resources.clone()),
                config: ConfigReader::new(file, &config).unwrap(),
                cordons: CordonReader::new(_state.path()).unwrap(),
                ask: ask.clone(),
            };
            let _watch = WatchThread::start(watched, events).unwrap();
            Watched { dir, _state, ask, inbox, _watch }
        }

        fn plain() -> Watched {
            Watched::new(|dir| fs::write(dir.join("config.yaml"), resources(1)).unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// What is said of the configuration, and not of this machine.
        fn said(&self, within: Duration) -> Option<Event> {
            let by = Deadline::after(within);
            loop {
                let event = self.inbox.recv_timeout(by.remaining()).ok()?;
                if matches!(event, Event::Reconfigured(_) | Event::ReconfigureFailed(_)) {
                    return Some(event);
                }
            }
        }

        #[track_caller]
        fn next(&self) -> Event {
            self.said(Duration::from_secs(10)).expect("nothing was said")
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
            let event = self.said(Duration::from_millis(300));
            assert!(event.is_none(), "{event:?}");
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

    #[test]
    fn directories_that_others_read_are_named_too() {
        let parse = |text: &str| {
            let text = format!("{text}\n{}", resources(1));
            let path = PathBuf::from("c.yaml");
            Paths::of(&ConfigFile { path, text, kubelet_dir: None }.parse().unwrap())
        };
        let in_use = parse("deviceInfo: { dir: /a }");
        let told = in_use.unheeded(&parse("deviceInfo: { dir: /b }\nlabels: { dir: /c }"));
        let expected =
            ["deviceInfo.dir is still `/a`, not `/b`", "labels.dir is still `off`, not `/c`"];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_needs_a_restart_is_named_with_the_value_in_use_unless_a_flag_outranks_it() {
        let parse = |kubelet: &str, kubelet_dir: Option<&str>| {
            let kubelet_dir = kubelet_dir.map(PathBuf::from);
            let text = format!("kubelet: {{ {kubelet} }}\n{}", resources(1));
            let file = ConfigFile { path: PathBuf::from("c.yaml"), text, kubelet_dir };
            Paths::of(&file.parse().unwrap())
        };
        let in_use = parse("pluginDir: /a/b", None);
        let told = in_use.unheeded(&parse("pluginDir: /a/c", None));
        assert_eq!(told, ["kubelet.pluginDir is still `/a/b`, not `/a/c`"]);
        let told = in_use.unheeded(&parse("pluginDir: /b/b", None));
        assert_eq!(told.len(), 2, "where pods are asked for follows from it: {told:?}");
        let told = in_use.unheeded(&parse("pluginDir: /a/b, podResources: /p", None));
        assert_eq!(
            told,
            ["kubelet.podResources is still `/a/pod-resources/kubelet.sock`, not `/p`"]
        );
        assert!(in_use.unheeded(&in_use).is_empty());
        let outranked = parse("pluginDir: /a/b", Some("/f"));
        assert!(outranked.unheeded(&parse("pluginDir: /a/c", Some("/f"))).is_empty());
    }
}
