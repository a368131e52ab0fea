//! `chandler probe`: asking plugins whether they serve.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    cli::chandler,
    fixture::Fixture,
    kubelet::{Kubelet, Options},
};

const CONFIG: &str = "version: v1
resources:
  - { name: example.com/kvm, discovery: { nodes: [/dev/kvm] } }
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }
";

struct Node {
    dir: TempDir,
    _host: Fixture,
    kubelet: Kubelet,
    chandler: Child,
}

impl Node {
    fn start() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let host = Fixture::new("//- /dev/kvm char\n");
        fs::write(dir.path().join("config.yaml"), CONFIG).unwrap();
        let kubelet = Kubelet::start(&dir.path().join("plugins"), Options::default());
        let chandler = chandler()
            .arg("run")
            .args([
                "--log".as_ref(),
                "off".as_ref(),
                "--host-root".as_ref(),
                host.root().as_os_str(),
            ])
            .args(["--config".as_ref(), dir.path().join("config.yaml").as_os_str()])
            .args(["--kubelet-dir".as_ref(), dir.path().join("plugins").as_os_str()])
            .args(["--state-dir".as_ref(), dir.path().as_os_str()])
            .args(["--runtime-dir".as_ref(), dir.path().as_os_str()])
            .spawn()
            .unwrap();
        let node = Node { dir, _host: host, kubelet, chandler };
        node.kubelet.expect_devices("example.com/kvm", "kvm Healthy");
        node.kubelet.expect_devices("example.com/serial", "");
        node
    }

    fn probe(&self, args: &[&str]) -> (Option<i32>, String) {
        probe(&self.dir.path().join("config.yaml"), &self.dir.path().join("plugins"), args)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.chandler.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.chandler.kill());
        drop(self.chandler.wait());
    }
}

fn probe(config: &Path, plugins: &Path, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = chandler()
        .arg("probe")
        .args(args)
        .args(["--config".as_ref(), config.as_os_str()])
        .args(["--kubelet-dir".as_ref(), plugins.as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code(), text)
}

#[test]
fn a_daemon_that_serves_everything_is_fine_and_its_streams_are_left_alone() {
    let node = Node::start();
    for args in [&[][..], &["--live"]] {
        let (code, text) = node.probe(args);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.matches(": serving, ").count(), 2, "{text}");
        assert!(text.lines().all(|it| it.ends_with(" ms, prefers devices")), "{text}");
    }
    node.kubelet.expect_devices("example.com/kvm", "kvm Healthy");
}

#[test]
fn a_resource_without_a_socket_is_not_ready_but_alive() {
    let node = Node::start();
    let more = "  - { name: example.com/later, discovery: { nodes: [/dev/later] } }\n";
    fs::write(node.dir.path().join("config.yaml"), CONFIG.to_owned() + more).unwrap();

    let (code, text) = node.probe(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("example.com/later: not offered to the kubelet\n"), "{text}");
    assert_eq!(node.probe(&["--live"]).0, Some(0));

    fs::write(node.dir.path().join("config.yaml"), "version: v9\n").unwrap();
    assert_eq!(node.probe(&[]).0, Some(2));
    assert_eq!(node.probe(&["--live"]).0, Some(0), "a spoilt file does not end what runs");
}

#[test]
fn a_process_that_is_stuck_is_neither_ready_nor_alive() {
    let node = Node::start();
    node.signal(Signal::SIGSTOP);
    for args in [&[][..], &["--live"]] {
        let (code, text) = node.probe(args);
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(text.matches(": not serving: no answer: ").count(), 2, "{text}");
    }
    node.signal(Signal::SIGCONT);
    assert_eq!(node.probe(&["--live"]).0, Some(0));
}

#[test]
fn without_a_daemon_nothing_is_offered_and_remnants_count_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    fs::write(&config, CONFIG).unwrap();
    drop(UnixListener::bind(dir.path().join("chandler-01234567-01234567-0.sock")).unwrap());

    let (code, text) = probe(&config, dir.path(), &[]);

    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("not offered to the kubelet").count(), 2, "{text}");
    let (code, text) = probe(&config, &dir.path().join("nowhere"), &["--live"]);
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn anybodys_socket_can_be_asked() {
    let node = Node::start();
    let plugins = node.dir.path().join("plugins");
    let mut names = fs::read_dir(&plugins).unwrap().map(|it| it.unwrap().path());
    let path = names.find(|it| it.to_str().unwrap().contains("/chandler-")).unwrap();
    let path = path.to_str().unwrap();

    let (code, text) = probe(Path::new("/nonexistent"), &plugins, &[path]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = probe(Path::new("/nonexistent"), &plugins, &[path, "/nonexistent.sock"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(": serving, "), "{text}");
    assert!(text.contains("/nonexistent.sock: not serving: cannot connect: "), "{text}");
}
