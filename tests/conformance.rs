//! What any kubelet may expect of a plugin: the report of `kubelet-sim verify` on the real program, and
//! the few checks that it cannot make from outside.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use crate::{fixture::Fixture, lifecycle::Node};

const HOST: &str = "//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1 char\n//- /dev/kvm char\n";

const CONFIG: &str = "version: v1
resources:
  - name: example.com/tty
    discovery: { nodes: [\"/dev/ttyUSB*\"] }
    allocation: { env: { TTY_PORTS: \"{node}\" } }
  - { name: example.com/kvm, discovery: { nodes: [/dev/kvm] }, sharing: { replicas: 3 } }
";

/// The checks that the report must have, whatever else it has.
const CHECKS: &[u64] = &[
    1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 17, 19, 20, 22, 24, 25, 26, 29, 30, 32, 34, 35,
    36, 38, 39, 40, 41, 42, 45, 50, 51, 52, 60,
];

/// The simulator's program, which `make test` builds beside the tests.
fn kubelet_sim() -> Option<PathBuf> {
    let path = std::env::current_exe().unwrap();
    let path = path.ancestors().nth(2).unwrap().join("examples/kubelet-sim");
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there; `make test` builds it", path.display());
    None
}

fn report(profile: &str) {
    let Some(program) = kubelet_sim() else { return };
    let host = Fixture::new(HOST);
    let config = host.root().join("config.yaml");
    fs::write(&config, CONFIG).unwrap();
    let output = Command::new(program)
        .args(["verify", "--profile", profile, "-o", "json", "--"])
        .args([env!("CARGO_BIN_EXE_chandler"), "run", "--kubelet-dir", "{dir}", "--log", "warn"])
        .arg("--config")
        .arg(&config)
        .arg("--host-root")
        .arg(host.root())
        .arg("--state-dir")
        .arg(host.root().join("state"))
        .arg("--runtime-dir")
        .arg(host.root().join("run"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {output:?}"));
    let mut held = BTreeSet::new();
    for check in report["checks"].as_array().unwrap() {
        assert_ne!(check["verdict"], "failed", "{profile}: {check}");
        if check["verdict"] == "held" {
            held.insert(check["check"].as_u64().unwrap());
        }
    }
    let missing: Vec<&u64> = CHECKS.iter().filter(|it| !held.contains(it)).collect();
    assert!(missing.is_empty(), "{profile}: not looked at: {missing:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_report_of_a_kubelet_until_1_36_has_no_failure() {
    report("legacy");
}

#[test]
fn the_report_of_a_kubelet_since_1_37_has_no_failure() {
    report("takeover");
}

/// The report on a small plugin that has no idea of streams which end.
fn report_on_a_plugin_that_ignores_lost_streams(output: &str) -> Option<String> {
    let program = kubelet_sim()?;
    let output = Command::new(&program)
        .args(["verify", "--patience-s", "2", "-o", output, "--"])
        .arg(&program)
        .args(["plugin", "--dir", "{dir}", "--device", "a<b&\"c\"", "--ignores-lost-streams"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_follows_from_a_failure_is_not_tried_and_not_counted() {
    let Some(text) = report_on_a_plugin_that_ignores_lost_streams("json") else { return };
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let of = |claim: &str| {
        let check = checks.iter().find(|it| it["claim"] == claim).unwrap();
        format!("{} {}", check["verdict"].as_str().unwrap(), check["seen"].as_str().unwrap())
    };
    assert!(of("registers again when its stream was cancelled").starts_with("failed "), "{text}");
    for claim in [
        "ends a stream before it registers again",
        "keeps its ids over a restart",
        "answers Allocate as before its restart",
    ] {
        assert_eq!(of(claim), "not tried because 15 failed");
    }
    assert!(of("starts beside the sockets of a killed one").starts_with("held"), "{text}");
}

#[test]
fn a_report_for_ci_is_xml_with_each_failure_and_what_was_not_tried() {
    let Some(text) = report_on_a_plugin_that_ignores_lost_streams("junit") else { return };
    let read = "import sys, xml.etree.ElementTree as tree
for case in tree.fromstring(sys.stdin.buffer.read()).iter('testcase'):
    print(case.get('name'), '|', ' '.join(it.tag + ' ' + it.get('message', '') for it in case))";
    let Ok(mut python) = Command::new("python3")
        .args(["-c", read])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: there is no python3 to read XML");
        return;
    };
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let cases = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "no XML:\n{text}");
    let has = |line: &str| cases.lines().any(|it| it.starts_with(line));
    assert!(has("15 registers again when its stream was cancelled | failure "), "{cases}");
    assert!(
        has("40 answers Allocate as before its restart | skipped not tried, because 15 failed"),
        "{cases}"
    );
    assert!(has("1 serves before it registers, on localhost | system-out"), "{cases}");
}

#[test]
fn a_plugin_directory_that_only_its_owner_may_list_is_enough() {
    let mut node = Node::new(HOST, CONFIG);
    fs::create_dir(node.plugin_dir()).unwrap();
    fs::set_permissions(node.plugin_dir(), fs::Permissions::from_mode(0o750)).unwrap();
    let kubelet = node.kubelet();
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    assert_eq!(fs::metadata(node.plugin_dir()).unwrap().mode() & 0o777, 0o750);
}

#[test]
fn files_of_the_kubelet_and_of_others_are_left_alone() {
    let mut node = Node::new(HOST, CONFIG);
    fs::create_dir(node.plugin_dir()).unwrap();
    let files = ["kubelet_internal_checkpoint", "DEPRECATION", "chandler.txt"];
    for name in files {
        fs::write(node.plugin_dir().join(name), name).unwrap();
        let mode = fs::Permissions::from_mode(0o400);
        fs::set_permissions(node.plugin_dir().join(name), mode).unwrap();
    }
    let state = |dir: &Path| -> Vec<(i64, i64, u64)> {
        let metadata = |it: &&str| fs::metadata(dir.join(it)).unwrap();
        files.iter().map(metadata).map(|it| (it.ctime(), it.ctime_nsec(), it.ino())).collect()
    };
    let before = state(&node.plugin_dir());
    node.start();
    crate::lifecycle::until(|| node.log().matches(" offered").count() == 2, || node.log());
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));

    assert_eq!(before, state(&node.plugin_dir()));
}
