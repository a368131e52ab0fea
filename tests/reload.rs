//! The configuration changes, and devices leave for good, under a running daemon.

use std::{fs, path::Path};

use crate::{
    fixture::Fixture,
    kubelet::{Device, Kubelet, Options},
    lifecycle::{Node, until},
};

const TTY: &str = "  - { name: example.com/tty, discovery: { nodes: [\"/dev/ttyUSB*\"] }, allocation: { env: { A: one } } }\n";
const KVM: &str = "  - { name: example.com/kvm, discovery: { nodes: [/dev/kvm] } }\n";
const FUSE: &str = "  - { name: example.com/fuse, discovery: { nodes: [/dev/fuse] } }\n";

const HOST: &str = "//- /dev/ttyUSB0 char\n//- /dev/kvm char\n//- /dev/fuse char\n";

fn config(resources: &[&str]) -> String {
    format!("version: v1\nresources:\n{}", resources.concat())
}

fn write(dir: &Path, text: &str) {
    // As an editor does: a new file is renamed into place.
    fs::write(dir.join("new"), text).unwrap();
    fs::rename(dir.join("new"), dir.join("config.yaml")).unwrap();
}

#[test]
fn a_reload_adds_and_removes_resources_and_leaves_the_others_alone() {
    let (mut node, mut kubelet) = Node::with_kubelet(HOST, &config(&[TTY, KVM]));
    node.start();
    let before = kubelet.expect_registration("example.com/tty");
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
    kubelet.expect_devices("example.com/kvm", "kvm Healthy");

    // Another value for one, another place in the file, one that goes and one that comes.
    write(node.dir.path(), &config(&[FUSE, &TTY.replace("one", "two")]));

    kubelet.expect_devices("example.com/fuse", "fuse Healthy");
    kubelet.expect_gone("example.com/kvm");
    let mut n_calls = 0;
    let answer = loop {
        // Until the new configuration is heeded, the old one answers: no call fails.
        let answer = kubelet.allocate_ids("example.com/tty", &["ttyUSB0"]).unwrap();
        n_calls += 1;
        if answer.envs["A"] == "two" {
            break answer;
        }
        assert_eq!(answer.envs["A"], "one");
        assert!(n_calls < 100_000, "the change never came");
    };
    assert_eq!(answer.devices[0].host_path, "/dev/ttyUSB0");
    assert_eq!(kubelet.registrations("example.com/tty"), 1, "{before:?}");
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported_with_its_place() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, &config(&[TTY]));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");

    write(node.dir.path(), "version: v1\nresorces: []\n");
    until(|| node.log().contains("resorces"), || node.log());
    assert!(node.log().contains(":2:1: unknown key `resorces`"), "{}", node.log());
    kubelet.allocate_ids("example.com/tty", &["ttyUSB0"]).unwrap();

    write(node.dir.path(), &config(&[TTY, KVM]));
    kubelet.expect_devices("example.com/kvm", "kvm Healthy");
    assert_eq!(kubelet.registrations("example.com/tty"), 1);
}

#[test]
fn more_replicas_and_other_rules_take_effect_without_another_registration() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, &config(&[TTY]));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");

    let shared = TTY.replace(" }\n", ", sharing: { replicas: 2 } }\n");
    write(node.dir.path(), &config(&[&shared]));

    kubelet.expect_devices(
        "example.com/tty",
        // A pod may hold the id that was offered before.
        "ttyUSB0 Unhealthy\nttyUSB0::0 Healthy\nttyUSB0::1 Healthy",
    );
    assert_eq!(kubelet.registrations("example.com/tty"), 1);
}

#[test]
fn replicas_that_a_device_has_no_longer_stay_listed_and_come_back_when_it_has_more() {
    let card = "  - { name: example.com/acc, discovery: { sysfs: class/acc, nodes: [\"/dev/{name}\"] }, sharing: { replicas: { from: memory_mib, per: PER } } }\n";
    let shared = |per: &str| config(&[&card.replace("PER", per)]);
    let host = "//- /sys/class/acc/acc0/memory_mib\n12288\n//- /dev/acc0 char\n";
    let (mut node, kubelet) = Node::with_kubelet(host, &shared("4096"));
    node.start();
    let all = "acc0::0 Healthy\nacc0::1 Healthy\nacc0::2 Healthy";
    kubelet.expect_devices("example.com/acc", all);

    node.host.add("//- /sys/class/acc/acc0/memory_mib\n9000\n");
    write(node.dir.path(), &shared("4500"));
    let fewer = "acc0::0 Healthy\nacc0::1 Healthy\nacc0::2 Unhealthy";
    kubelet.expect_devices("example.com/acc", fewer);

    write(node.dir.path(), &shared("3000"));
    kubelet.expect_devices("example.com/acc", all);
    assert_eq!(kubelet.registrations("example.com/acc"), 1);
}

#[test]
fn what_takes_effect_at_the_next_start_only_is_said_once_with_the_value_in_use() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, &config(&[TTY]));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
    // The flag outranks the directory, so that it is no news.
    let elsewhere = "kubelet: { pluginDir: /a/b, podResources: /c/d }\n";
    for n in 1..4 {
        write(node.dir.path(), &format!("{elsewhere}{}{}", config(&[TTY]), "# again\n".repeat(n)));
        until(|| node.log().matches("configured anew").count() == n, || node.log());
    }
    let log = node.log();
    let beside = node.dir.path().join("pod-resources/kubelet.sock");
    let said = format!(
        "kubelet.podResources is still `{}`, not `/c/d`; it takes effect",
        beside.display()
    );
    assert_eq!(log.matches(&said).count(), 1, "{log}");
    assert_eq!(log.matches("is still").count(), 1, "{log}");
}

#[test]
fn variables_of_another_plugin_come_and_go_with_the_configuration() {
    let like = |compat: &str| config(&[&TTY.replace("{ env", &format!("{{ {compat}env"))]);
    let (mut node, kubelet) = Node::with_kubelet(HOST, &like(""));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
    let variable = || {
        let mut answer = kubelet.allocate_ids("example.com/tty", &["ttyUSB0"]).unwrap();
        answer.envs.remove("NVIDIA_VISIBLE_DEVICES")
    };
    assert_eq!(variable(), None);

    write(node.dir.path(), &like("compat: nvidia, "));
    until(|| variable().as_deref() == Some("ttyUSB0"), || node.log());

    write(node.dir.path(), &like(""));
    until(|| variable().is_none(), || node.log());
    assert_eq!(kubelet.registrations("example.com/tty"), 1);
}

/// Two ports, and a kubelet that says who holds what.
fn with_pod_resources() -> (Node, Kubelet) {
    let node = Node::new("//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1 char\n", &config(&[TTY]));
    let sockets = node.dir.path().join("pod-resources");
    fs::create_dir(&sockets).unwrap();
    let options =
        Options { pod_resources: Some(sockets.join("kubelet.sock")), ..Options::default() };
    let kubelet = Kubelet::start(&node.plugin_dir(), options);
    (node, kubelet)
}

#[test]
fn a_device_that_vanished_is_dropped_once_the_kubelet_says_that_nobody_holds_it() {
    let (mut node, kubelet) = with_pod_resources();
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");

    remove(&node.host, "/dev/ttyUSB1");

    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    kubelet.expect_devices("example.com/tty", |it: &[Device]| it.len() == 1);
}

#[test]
fn as_long_as_the_kubelet_does_not_say_who_holds_what_nothing_is_dropped() {
    let (mut node, kubelet) = with_pod_resources();
    let exhausted = (8, "rejected by rate limit".to_owned());
    kubelet.fault(|it| it.pod_resources = Some(exhausted));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");

    remove(&node.host, "/dev/ttyUSB1");
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    until(|| node.log().contains("rejected by rate limit"), || node.log());
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    kubelet.fault(|it| it.pod_resources = None);

    kubelet.expect_devices("example.com/tty", |it: &[Device]| it.len() == 1);
    assert_eq!(node.log().matches("rejected by rate limit").count(), 1, "{}", node.log());
}

#[test]
fn what_a_pod_holds_stays_listed_over_a_restart_though_the_device_is_gone() {
    let (mut node, mut kubelet) = with_pod_resources();
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.allocate("example.com/tty", 2).unwrap();
    node.signal(nix::sys::signal::Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone("example.com/tty");
    remove(&node.host, "/dev/ttyUSB1");
    // What the kubelet says is enough.
    fs::remove_file(node.dir.path().join("state/offered.json")).unwrap();

    node.start();

    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    node.host.add("//- /dev/ttyUSB1 char\n");
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
}

#[test]
fn what_a_pod_holds_stays_listed_over_a_restart_though_what_was_offered_cannot_be_read() {
    let (mut node, mut kubelet) = with_pod_resources();
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.allocate("example.com/tty", 2).unwrap();
    remove(&node.host, "/dev/ttyUSB1");
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    let file = node.dir.path().join("state/offered.json");
    // No JSON, another's JSON, one flawed entry beside a good one.
    let flawed = r#"{"version":2,"resources":{"example.com/tty":{
        "ttyUSB0":{"offers":["ttyUSB0"]},"ttyUSB1":{"offers":7}}}}"#;
    for broken in ["\0 no JSON", "[]", flawed] {
        node.signal(nix::sys::signal::Signal::SIGKILL);
        node.wait();
        kubelet.expect_gone("example.com/tty");
        fs::write(&file, broken).unwrap();

        node.start();

        kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
        assert_eq!(fs::read_to_string(file.with_extension("json.bad")).unwrap(), broken);
        // What the kubelet says is on disk again.
        let is_written =
            || fs::read_to_string(&file).is_ok_and(|it| it.contains(r#":["ttyUSB1"]"#));
        until(is_written, || node.log());
    }
}

#[test]
fn reloads_that_retire_resources_give_back_their_descriptors_and_threads() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, &config(&[TTY]));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
    let turn = || {
        write(node.dir.path(), &config(&[TTY, KVM]));
        kubelet.expect_devices("example.com/kvm", "kvm Healthy");
        write(node.dir.path(), &config(&[TTY]));
        kubelet.expect_gone("example.com/kvm");
    };
    // What is kept for a second resource, once, is no leak.
    turn();
    until(|| node.threads("plugins").len() == 1, || format!("{:?}", node.threads("")));
    let before = node.n_held();
    (0..50).for_each(|_| turn());
    let says = || format!("{before:?}, {:?}, {:?}", node.n_held(), node.threads(""));
    until(|| node.n_held() <= before, says);
}

#[test]
fn a_plugin_directory_that_is_a_file_at_first_is_used_once_it_is_a_directory() {
    let mut node = Node::new(HOST, &config(&[TTY]));
    fs::write(node.plugin_dir(), "").unwrap();
    node.start();
    until(|| node.log().contains("devices=1 offered"), || node.log());
    fs::remove_file(node.plugin_dir()).unwrap();
    let kubelet = node.kubelet();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
}

#[test]
fn a_resource_for_which_there_are_no_descriptors_is_served_once_there_are() {
    let (mut node, mut kubelet) = Node::with_kubelet(HOST, &config(&[TTY]));
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy");
    let n_open = node.n_held().0;
    // Enough to read the new configuration, and too few for all that it wants.
    if !node.limit_descriptors(n_open + 3) {
        eprintln!("skipped: there is no program prlimit");
        return;
    }
    let more: Vec<String> = (0..6).map(|n| KVM.replace("/kvm,", &format!("/kvm{n},"))).collect();
    write(node.dir.path(), &config(&[TTY, &more.concat()]));
    until(|| node.log().contains("Too many open files"), || node.log());
    node.limit_descriptors(1024);
    for n in 0..6 {
        kubelet.expect_registration(&format!("example.com/kvm{n}"));
    }
}

fn remove(host: &Fixture, path: &str) {
    fs::remove_file(host.real(path)).unwrap();
}
