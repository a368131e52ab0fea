//! The real program, a fake host and the simulated kubelet: stories of a node's life.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    cli::chandler,
    fixture::Fixture,
    kubelet::{Device, Event, Kubelet, Options},
};

/// A node: host, configuration and plugin directory; Chandler runs on it when it is told to.
pub(crate) struct Node {
    pub(crate) host: Fixture,
    pub(crate) dir: TempDir,
    chandler: Option<Child>,
}

const TWO_PORTS: &str = "//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1 char\n//- /dev/kvm char\n";

const CONFIG: &str = "version: v1
resources:
  - name: example.com/serial
    discovery: { nodes: [\"/dev/ttyUSB*\"] }
    allocation: { env: { PORTS: \"{node}\" } }
  - name: example.com/kvm
    discovery: { nodes: [/dev/kvm] }
    sharing: { replicas: 3 }
";

impl Node {
    pub(crate) fn new(host: &str, config: &str) -> Node {
        let node =
            Node { host: Fixture::new(host), dir: tempfile::tempdir().unwrap(), chandler: None };
        fs::write(node.dir.path().join("config.yaml"), config).unwrap();
        node
    }

    /// With a kubelet that waits for plugins.
    pub(crate) fn with_kubelet(host: &str, config: &str) -> (Node, Kubelet) {
        let node = Node::new(host, config);
        let kubelet = node.kubelet();
        (node, kubelet)
    }

    pub(crate) fn kubelet(&self) -> Kubelet {
        Kubelet::start(&self.plugin_dir(), Options::default())
    }

    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.dir.path().join("device-plugins")
    }

    pub(crate) fn start(&mut self) {
        let child = self.another();
        self.chandler = Some(child);
    }

    /// On the machine's own `/sys` and `/dev`, rather than on the fake host.
    pub(crate) fn start_on_this_machine(&mut self) {
        let child = self.another_on(Path::new("/"));
        self.chandler = Some(child);
    }

    /// One more process for the same resources.
    fn another(&self) -> Child {
        self.another_on(self.host.root())
    }

    /// By another program, which becomes Chandler.
    pub(crate) fn start_as(&mut self, command: Command) {
        let child = self.spawn(command, self.host.root());
        self.chandler = Some(child);
    }

    fn another_on(&self, root: &Path) -> Child {
        self.spawn(chandler(), root)
    }

    fn spawn(&self, mut command: Command, root: &Path) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        command
            .arg("run")
            .arg("--config")
            .arg(self.dir.path().join("config.yaml"))
            .arg("--host-root")
            .arg(root)
            .arg("--state-dir")
            .arg(self.dir.path().join("state"))
            .arg("--runtime-dir")
            .arg(self.dir.path().join("run"))
            .arg("--kubelet-dir")
            .arg(self.plugin_dir())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.chandler.as_ref().unwrap().id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.chandler.as_ref().unwrap().id()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.chandler.take().unwrap().wait().unwrap()
    }

    /// The names of its threads that begin with `prefix`.
    pub(crate) fn threads(&self, prefix: &str) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.chandler.as_ref().unwrap().id());
        let names = fs::read_dir(tasks)
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.map(|it| it.trim().to_owned()).filter(|it| it.starts_with(prefix)).collect()
    }

    /// How many descriptors it has open, and how many threads.
    pub(crate) fn n_held(&self) -> (usize, usize) {
        let process = format!("/proc/{}", self.chandler.as_ref().unwrap().id());
        let count = |what: &str| fs::read_dir(format!("{process}/{what}")).unwrap().count();
        (count("fd"), count("task"))
    }

    /// From now on it may have so many descriptors. False if that cannot be done here.
    pub(crate) fn limit_descriptors(&self, n_max: usize) -> bool {
        let pid = self.chandler.as_ref().unwrap().id().to_string();
        let mut prlimit = std::process::Command::new("prlimit");
        prlimit.arg(format!("--nofile={n_max}:")).args(["--pid", &pid]);
        prlimit.status().is_ok_and(|it| it.success())
    }

    fn sockets(&self) -> Vec<String> {
        let entries = fs::read_dir(self.plugin_dir()).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|it| Path::new(it).extension().is_some_and(|it| it == "sock")).collect();
        names.sort();
        names
    }

    /// How much processor time each thread has used, by its name.
    pub(crate) fn cpu_times(&self) -> BTreeMap<String, Duration> {
        let tasks = format!("/proc/{}/task", self.chandler.as_ref().unwrap().id());
        let tasks = fs::read_dir(tasks).unwrap().map(|it| it.unwrap().path());
        let times = tasks.filter_map(|it| {
            let name = fs::read_to_string(it.join("comm")).ok()?.trim().to_owned();
            let text = fs::read_to_string(it.join("schedstat")).ok()?;
            Some((name, Duration::from_nanos(text.split(' ').next()?.parse().ok()?)))
        });
        times.collect()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.chandler.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("what chandler logged:\n{}", self.log());
        }
    }
}

#[test]
fn devices_are_found_registered_listed_and_handed_over() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();

    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.expect_devices("example.com/kvm", "kvm::0 Healthy\nkvm::1 Healthy\nkvm::2 Healthy");
    let answer = kubelet.allocate_ids("example.com/serial", &["ttyUSB1"]).unwrap();
    assert_eq!(answer.devices[0].host_path, "/dev/ttyUSB1");
    assert_eq!(answer.devices[0].permissions, "rw");
    assert_eq!(answer.envs["PORTS"], "/dev/ttyUSB1");
    let refusal = kubelet.allocate_ids("example.com/serial", &["ttyUSB7"]).unwrap_err();
    assert!(refusal.contains("example.com/serial has no device ttyUSB7"), "{refusal}");
}

#[test]
fn after_a_kubelet_restart_everything_is_registered_again_under_new_socket_names() {
    let (mut node, mut kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();
    let before = kubelet.expect_registration("example.com/serial");
    kubelet.expect_devices("example.com/kvm", |it: &[Device]| it.len() == 3);

    for _ in 0..5 {
        kubelet.restart();
        let after = kubelet.expect_registration("example.com/serial");
        kubelet.expect_devices("example.com/kvm", |it: &[Device]| it.len() == 3);
        assert_ne!(before.endpoint, after.endpoint);
    }
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
}

#[test]
fn a_kubelet_that_comes_late_is_waited_for_even_without_its_directory() {
    let mut node = Node::new(TWO_PORTS, CONFIG);
    node.start();
    until(|| node.log().contains("device-plugins"), || node.log());

    let kubelet = node.kubelet();

    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    let n_complaints = node.log().matches(" WARN ").count();
    assert_eq!(n_complaints, 1, "it says once what it waits for:\n{}", node.log());
}

#[test]
fn sigterm_and_sigint_end_it_cleanly_and_remove_only_its_own_sockets() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
        let _other = UnixListener::bind(node.plugin_dir().join("other.sock")).unwrap();
        node.start();
        kubelet.expect_devices("example.com/kvm", |it: &[Device]| it.len() == 3);
        kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 2);

        node.signal(signal);

        assert_eq!(node.wait().code(), Some(0), "{}", node.log());
        kubelet.expect_gone("example.com/kvm");
        kubelet.expect_gone("example.com/serial");
        assert_eq!(node.sockets(), ["kubelet.sock", "other.sock"]);
    }
}

#[test]
fn a_killed_process_leaves_sockets_that_the_next_one_removes() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 2);
    kubelet.expect_devices("example.com/kvm", |it: &[Device]| it.len() == 3);
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone("example.com/serial");
    kubelet.expect_gone("example.com/kvm");
    assert_eq!(node.sockets().len(), 3);

    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.expect_devices("example.com/kvm", |it: &[Device]| {
        it.iter().all(|it| it.health == "Healthy")
    });

    assert_eq!(node.sockets().len(), 3, "{:?}", node.sockets());
}

#[test]
fn a_device_that_vanished_while_no_daemon_ran_stays_listed() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.expect_devices("example.com/kvm", |it: &[Device]| it.len() == 3);
    node.signal(Signal::SIGTERM);
    node.wait();
    kubelet.expect_gone("example.com/serial");
    fs::remove_file(node.host.real("/dev/ttyUSB1")).unwrap();

    node.start();

    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_said_once_and_harms_nothing() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    fs::write(node.dir.path().join("state"), "no directory").unwrap();
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    until(|| node.log().contains("offered.json"), || node.log());
    assert_eq!(node.log().matches("is forgotten").count(), 1, "{}", node.log());
}

#[test]
fn a_socket_that_somebody_deletes_is_made_again() {
    let (mut node, mut kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();
    let first = kubelet.expect_registration("example.com/serial");
    kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 2);

    fs::remove_file(node.plugin_dir().join(&first.endpoint)).unwrap();

    let second = kubelet.expect_registration("example.com/serial");
    assert_ne!(first.endpoint, second.endpoint);
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    // A kubelet until 1.36 takes whoever is registered when it notes the end for the one that has ended.
    let state = kubelet.shared.lock();
    let is_end = |it: &Event| matches!(it, Event::StreamEnded { endpoint, .. } if *endpoint == first.endpoint);
    let ended = state.log.iter().find(|it| is_end(&it.event)).unwrap();
    assert!(second.at - ended.at >= Duration::from_millis(20), "{:?}", second.at - ended.at);
}

#[test]
fn a_device_that_is_no_device_is_shown_and_the_others_are_served() {
    let (mut node, kubelet) =
        Node::with_kubelet("//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    kubelet.expect_devices("example.com/kvm", "");
    assert!(node.log().contains("/dev/ttyUSB1"), "{}", node.log());
}

/// A kubelet until 1.36 takes the end of the elder's stream for the end of whoever is registered.
#[test]
fn in_an_update_the_one_that_stays_takes_over_in_a_moment_if_the_other_ends_in_good_order() {
    for (signal, within) in [(Signal::SIGTERM, 0..500), (Signal::SIGKILL, 900..5_000)] {
        let (mut node, mut kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
        node.start();
        kubelet.expect_registration("example.com/serial");
        kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 2);
        let newer = node.another();
        let first = kubelet.expect_registration("example.com/serial");
        // Long enough for it to be sure that no list of its own is being written.
        let began = Instant::now();
        until(|| began.elapsed() > Duration::from_millis(1_200), || "the time".to_owned());

        let ended = Instant::now();
        node.signal(signal);
        node.wait();
        node.chandler = Some(newer);

        let second = kubelet.expect_registration("example.com/serial");
        let passed = ended.elapsed().as_millis();
        assert!(within.contains(&passed), "{signal}: {passed} ms\n{}", node.log());
        assert_ne!(first.endpoint, second.endpoint);
        kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
        node.signal(Signal::SIGKILL);
        node.wait();
        kubelet.expect_gone("example.com/serial");
    }
}

/// Waits until something holds that no event tells us of.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {}", what());
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
