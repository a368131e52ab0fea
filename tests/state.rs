//! What outlives the process: files of the state directory that are broken, half written, or written by
//! several at once.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    kubelet::Kubelet,
    lifecycle::{Node, until},
};

const TWO_PORTS: &str = "//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1 char\n";

const CONFIG: &str =
    "version: v1\nresources: [{ name: example.com/tty, discovery: { nodes: [\"/dev/tty*\"] } }]\n";

fn state(node: &Node, name: &str) -> PathBuf {
    node.dir.path().join("state").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn kill(node: &mut Node, kubelet: &Kubelet, resource: &str) {
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone(resource);
}

/// What is there of the files `name`, beside its lock.
fn files(node: &Node, name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(node.dir.path().join("state")).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it.contains(name) && !it.ends_with(".lock")).collect()
}

#[test]
fn what_was_offered_stays_listed_though_the_file_breaks_and_no_kubelet_tells() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    let file = state(&node, "offered.json");
    let copy = state(&node, "offered.json.last-good");
    let is_kept = || text(&copy).contains("ttyUSB1") && text(&copy) == text(&file);
    until(is_kept, || node.log());
    let whole = text(&file);
    let edited = whole.replace("\"ttyUSB1\"]", "\"ttyUSB7\"]");
    assert_ne!(edited, whole);
    for (n, broken) in ["", &whole[..whole.len() / 2], "[]", &edited].into_iter().enumerate() {
        kill(&mut node, &kubelet, "example.com/tty");
        if n == 0 {
            fs::remove_file(node.host.real("/dev/ttyUSB1")).unwrap();
        }
        fs::write(&file, broken).unwrap();
        node.start();
        kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
        assert_eq!(text(&state(&node, "offered.json.bad")), broken);
        let said = "what was offered is taken from ";
        until(|| node.log().matches(said).count() == n + 1, || node.log());
    }
}

#[test]
fn what_writers_left_that_were_killed_is_swept_when_the_daemon_starts() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_PORTS, CONFIG);
    fs::create_dir(node.dir.path().join("state")).unwrap();
    for name in [".offered.json.new", ".cordons.json.new"] {
        fs::write(state(&node, name), "{\"half").unwrap();
    }
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    let whole = ["offered.json", "offered.json.last-good"].map(str::to_owned);
    until(|| files(&node, "offered.json") == whole.clone().into(), || node.log());
    assert_eq!(files(&node, "cordons.json"), BTreeSet::new());
}

#[test]
fn commands_that_cordon_at_once_lose_nothing_and_the_daemon_heeds_all_of_them() {
    let names: Vec<String> = (0..12).map(|n| format!("ttyUSB{n:02}")).collect();
    let host: String = names.iter().map(|it| format!("//- /dev/{it} char\n")).collect();
    let (mut node, kubelet) = Node::with_kubelet(&host, CONFIG);
    node.start();
    let list = |health: &str| {
        names.iter().map(|it| format!("{it} {health}")).collect::<Vec<String>>().join("\n")
    };
    kubelet.expect_devices("example.com/tty", list("Healthy").as_str());
    until(|| text(&state(&node, "offered.json")).contains("ttyUSB11"), || node.log());
    for (verb, health) in [("cordon", "Unhealthy"), ("uncordon", "Healthy")] {
        let command = |device: &String| {
            let mut command = chandler();
            command.args([verb, device, "--state-dir"]).arg(node.dir.path().join("state"));
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        let all: Vec<_> = names.iter().map(command).collect();
        for mut child in all {
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
        kubelet.expect_devices("example.com/tty", list(health).as_str());
    }
    assert_eq!(
        files(&node, "cordons.json"),
        ["cordons.json", "cordons.json.last-good"].map(str::to_owned).into()
    );
}
