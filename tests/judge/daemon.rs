//! The real `chandler` as a process, on a fake host.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileTypeExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    fixture::Fixture,
    transcript::{PATIENCE, Transcript, eventually},
};

/// A node: its hardware, a configuration, and the directory of plugins.
#[derive(Debug)]
pub struct Node {
    pub host: Fixture,
    home: TempDir,
}

impl Node {
    /// `resources` is the list below that key of the configuration.
    pub fn new(fixture: &str, resources: &str) -> Node {
        let node = Node { host: Fixture::new(fixture), home: tempfile::tempdir().unwrap() };
        node.configure(resources);
        node
    }

    /// Four accelerators, one of them on each of two NUMA nodes and two on none.
    pub fn with_four() -> Node {
        Node::new(FOUR, ACC)
    }

    pub fn configure(&self, resources: &str) {
        fs::write(self.config(), format!("version: v1\nresources:\n{resources}")).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config.yaml")
    }

    /// The directory of kubelet.sock.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("plugins")
    }

    /// Takes a file of the host away.
    pub fn unplug(&self, path: &str) {
        fs::remove_file(self.host.real(path)).unwrap();
    }

    /// Deletes it with all there is in it, although others may be writing there.
    pub fn remove_dir(&self) {
        eventually("the directory to be gone", || {
            drop(fs::remove_dir_all(self.dir()));
            !self.dir().exists()
        });
    }

    /// The sockets in it, but for the kubelet's.
    pub fn endpoints(&self) -> BTreeSet<String> {
        // Meanwhile the directory may be gone, or an entry.
        let entries = fs::read_dir(self.dir()).into_iter().flatten().filter_map(Result::ok);
        entries
            .filter(|it| it.file_type().is_ok_and(|it| it.is_socket()))
            .map(|it| it.file_name().into_string().unwrap())
            .filter(|it| it != "kubelet.sock")
            .collect()
    }

    /// Starts a chandler.
    pub fn chandler(&self) -> Chandler {
        Chandler::start(self)
    }
}

pub const RESOURCE: &str = "example.com/acc";

pub const FOUR: &str = "
//- /sys/class/accel/acc0/numa_node
0
//- /sys/class/accel/acc1/numa_node
1
//- /sys/class/accel/acc2/numa_node
-1
//- /sys/class/accel/acc3/name
third
//- /dev/acc0 char
//- /dev/acc1 char
//- /dev/acc2 char
//- /dev/acc3 char
";

pub const ACC: &str = r#"
  - name: example.com/acc
    discovery: { sysfs: class/accel, nodes: ["/dev/{name}"] }
    allocation:
      devices: [{ hostPath: "{node}", containerPath: "/dev/x-{name}" }]
      mounts: [{ hostPath: "/opt/{name}", containerPath: "/opt/{index}", readOnly: true }]
      env: { ACCELERATORS: "{ids}" }
      annotations: { example.com/acc: "{id}" }
"#;

/// A running chandler. Dropping it kills it.
#[derive(Debug)]
pub struct Chandler {
    child: Child,
    log: Transcript,
}

/// What a process has, as `/proc` says.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub threads: u64,
    pub descriptors: u64,
    pub rss_anon_kb: u64,
}

impl Chandler {
    fn start(node: &Node) -> Chandler {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chandler"))
            .args(["run", "--log", "info", "--config"])
            .arg(node.config())
            .arg("--host-root")
            .arg(node.host.root())
            .arg("--kubelet-dir")
            .arg(node.dir())
            .arg("--state-dir")
            .arg(node.home.path().join("state"))
            .arg("--runtime-dir")
            .arg(node.home.path().join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Transcript::of(child.stderr.take().unwrap());
        Chandler { child, log }
    }

    /// SIGKILL. Returns when it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM. Returns when it is gone.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.wait()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let ended = self.log.wait(PATIENCE, |it| it.ended.then_some(()));
        assert!(ended.is_some(), "chandler does not end");
        self.child.wait().unwrap()
    }

    /// Waits until it has logged a line that has `words`.
    #[track_caller]
    pub fn expect_log(&self, words: &str) {
        let found = |it: &str| it.contains(words);
        let said = self.log.wait(PATIENCE, |it| it.lines.iter().any(|it| found(it)).then_some(()));
        assert!(said.is_some(), "chandler has not said {words:?}");
    }

    /// How many lines of its log have `words`.
    pub fn said(&self, words: &str) -> usize {
        self.log.look(|it| it.lines.iter().filter(|it| it.contains(words)).count())
    }

    /// How often it has registered [`RESOURCE`].
    pub fn n_registered(&self) -> usize {
        self.said("resource=example.com/acc registered")
    }

    pub fn footprint(&self) -> Footprint {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let number = |key: &str| {
            let line = status.lines().find(|it| it.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(proc.join("fd")).unwrap().count();
        Footprint {
            threads: number("Threads:"),
            descriptors: u64::try_from(descriptors).unwrap(),
            rss_anon_kb: number("RssAnon:"),
        }
    }
}

impl Drop for Chandler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- chandler {} logged\n{}", self.child.id(), self.log.tail(60));
        }
    }
}
