//! The real program lacks descriptors or memory: nothing of that is the fault of a device.

use std::{fs, process::Command, time::Instant};

use nix::sys::signal::Signal;

use crate::{
    health::{STATUS, TWO_CARDS, config},
    lifecycle::{Node, until},
};

const COMMAND: &str = "      command: { run: [/bin/true], timeout: 200ms }";

/// From now on it can open nothing, until [`Node::limit_descriptors`] says otherwise. False if that cannot
/// be done here.
fn exhaust_descriptors(node: &Node) -> bool {
    let first_free = || {
        let open: Vec<usize> = fs::read_dir(format!("/proc/{}/fd", node.pid()))
            .unwrap()
            .filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok())
            .collect();
        (0..).find(|it| !open.contains(it)).unwrap()
    };
    // What is open for a moment only does not count.
    let start = Instant::now();
    let mut free = first_free();
    until(
        || {
            free = free.min(first_free());
            start.elapsed().as_millis() > 200
        },
        || "the time".to_owned(),
    );
    // No fewer than one thread polls.
    assert!(free > 10, "{free}");
    node.limit_descriptors(free)
}

/// The program with limits of the shell.
fn limited(limits: &str) -> Command {
    let mut limited = Command::new("sh");
    let run = format!("{limits}; exec \"$@\"");
    limited.args(["-c", &run, "sh", env!("CARGO_BIN_EXE_chandler")]);
    limited
}

#[test]
fn a_shortage_of_descriptors_condemns_no_device_loses_none_and_is_said_once() {
    for health in [STATUS, COMMAND] {
        let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(health));
        node.start();
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
        if !exhaust_descriptors(&node) {
            eprintln!("skipped: there is no program prlimit");
            return;
        }
        until(|| node.log().contains("are not probed"), || node.log());
        node.host.add("//- /sys/class/acc/acc2/status\nonline\n//- /dev/acc2 char\n");
        until(|| node.log().contains("lacks what a scan needs"), || node.log());
        // Three more rounds of probes.
        let start = Instant::now();
        until(|| start.elapsed().as_millis() > 1_000, || "the time".to_owned());
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
        let log = node.log();
        assert!(!log.contains("unhealthy"), "{log}");
        assert_eq!(log.matches("are not probed").count(), 1, "{log}");
        assert_eq!(log.matches("lacks what a scan needs").count(), 1, "{log}");

        node.limit_descriptors(1024);
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy\nacc2 Healthy");
        assert!(!node.log().contains("unhealthy"), "{}", node.log());
    }
}

#[test]
fn in_a_shortage_of_descriptors_sigterm_ends_it() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    if !exhaust_descriptors(&node) {
        eprintln!("skipped: there is no program prlimit");
        return;
    }
    until(|| node.log().contains("are not probed"), || node.log());
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success(), "{}", node.log());
}

#[test]
fn with_too_few_descriptors_for_the_configuration_it_does_not_start_and_says_how_many_it_needs() {
    let resource = |n| {
        format!(
            "  - {{ name: example.com/r{n}, discovery: {{ nodes: [/dev/acc0] }}, exclusive: false }}\n"
        )
    };
    let config = format!("version: v1\nresources:\n{}", (0..10).map(resource).collect::<String>());
    let (mut node, mut kubelet) = Node::with_kubelet(TWO_CARDS, &config);
    node.start_as(limited("ulimit -n 125"));
    assert_eq!(node.wait().code(), Some(1));
    let log = node.log();
    assert!(
        log.contains("10 resources need 126 descriptors, and this process may have 125"),
        "{log}"
    );

    // With so many it serves them all, also when a kubelet starts again.
    node.start_as(limited("ulimit -n 126"));
    for _ in 0..3 {
        for n in 0..10 {
            kubelet.expect_devices(&format!("example.com/r{n}"), "acc0 Healthy");
        }
        kubelet.restart();
    }
}

#[test]
fn with_little_address_space_it_says_what_is_lacking_and_sigterm_ends_it() {
    // From too little to start, over too little for the threads of the gRPC core, to enough.
    let mut nodes: Vec<Node> = [60_000, 300_000, 500_000, 700_000, 1_000_000, 4_000_000]
        .into_iter()
        .map(|kib| {
            let (mut node, _kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
            node.start_as(limited(&format!("ulimit -v {kib}")));
            node
        })
        .collect();
    let start = Instant::now();
    until(|| start.elapsed().as_millis() > 2_000, || "the time".to_owned());
    for node in &nodes {
        node.signal(Signal::SIGTERM);
    }
    for node in &mut nodes {
        let status = node.wait();
        // Where memory itself is lacking it cannot but abort, and says so.
        let (log, has_ended) = (node.log(), status.code().is_some());
        assert!(has_ended || log.contains("memory allocation of"), "{status} {log}");
        assert!(!log.is_empty(), "{status}");
    }
    assert!(start.elapsed().as_secs() < 18, "{:?}", start.elapsed());
}
