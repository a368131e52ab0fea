//! The real program hears of devices that come and go, and of a changed configuration.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    health::Hanging,
    kubelet::{Device, Kubelet},
    lifecycle::{Node, until},
};

const CONFIG: &str = "version: v1
resources:
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\", \"/dev/serial/by-id/*\"] } }
  - { name: example.com/other, discovery: { nodes: [\"/dev/other*\"] } }
";

/// How soon a change must be seen: long before everything is looked at again.
const SOON: Duration = Duration::from_secs(5);

#[track_caller]
fn expect_soon(kubelet: &Kubelet, resource: &str, devices: &str) -> Duration {
    let start = Instant::now();
    kubelet.expect_devices(resource, devices);
    let took = start.elapsed();
    assert!(took < SOON, "after {took:?}");
    took
}

#[test]
fn a_node_that_comes_and_goes_is_seen_at_once() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");

    for _ in 0..3 {
        symlink("/dev/null", node.host.real("/dev/ttyUSB1")).unwrap();
        expect_soon(&kubelet, "example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
        fs::remove_file(node.host.real("/dev/ttyUSB1")).unwrap();
        expect_soon(&kubelet, "example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    }
}

#[test]
fn links_in_a_directory_that_did_not_exist_are_seen_at_once() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/null char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "");

    node.host.add("//- /dev/ports/a char\n//- /dev/serial/by-id/usb-a -> ../../ports/a\n");
    expect_soon(&kubelet, "example.com/serial", "a Healthy");
    fs::remove_dir_all(node.host.real("/dev/serial")).unwrap();
    expect_soon(&kubelet, "example.com/serial", "a Unhealthy");
    node.host.add("//- /dev/serial/by-id/usb-a -> ../../ports/a\n");
    expect_soon(&kubelet, "example.com/serial", "a Healthy");
}

#[test]
fn a_real_device_that_comes_and_goes_is_seen_at_once_if_we_are_privileged() {
    const HOT_ADD: &str = "/sys/class/zram-control/hot_add";
    let Ok(number) = fs::read_to_string(HOT_ADD) else {
        eprintln!("skipped: needs root and the module zram");
        return;
    };
    let remove = |number: &str| {
        fs::write("/sys/class/zram-control/hot_remove", number.trim()).unwrap();
    };
    remove(&number);
    // No nodes, so that only uevents tell.
    let config = "version: v1
resources:
  - name: example.com/zram
    discovery:
      sysfs: class/block
      match: [{ key: name, operator: InRegexp, values: [\"^zram\"] }]
      nodes: []
";
    let (mut node, kubelet) = Node::with_kubelet("//- /dev dir\n", config);
    node.start_on_this_machine();
    kubelet.expect_devices("example.com/zram", |_: &[Device]| true);
    let is_healthy = |it: &&Device| it.health == "Healthy";

    for _ in 0..3 {
        let start = Instant::now();
        let number = fs::read_to_string(HOT_ADD).unwrap();
        let name = format!("zram{}", number.trim());
        kubelet.expect_devices("example.com/zram", |it: &[Device]| {
            it.iter().filter(is_healthy).any(|it| it.id == name)
        });
        let added = start.elapsed();
        let start = Instant::now();
        remove(&number);
        kubelet.expect_devices("example.com/zram", |it: &[Device]| {
            !it.iter().filter(is_healthy).any(|it| it.id == name)
        });
        eprintln!("uevent to list: add {added:?}, remove {:?}", start.elapsed());
        assert!(added < SOON && start.elapsed() < SOON);
    }
}

#[test]
fn a_changed_configuration_file_is_read_and_sighup_asks_for_it() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");

    node.signal(Signal::SIGHUP);
    until(|| node.log().contains("the configuration has not changed"), || node.log());

    let file = node.dir.path().join("config.yaml");
    fs::write(&file, "version: v1\nresources: none\n").unwrap();
    until(|| node.log().contains("the configuration stays as it was"), || node.log());
    fs::write(&file, CONFIG.replace("example.com/other", "example.com/another")).unwrap();
    until(|| node.log().contains("the configuration has changed"), || node.log());
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
}

#[test]
fn how_long_it_takes_from_a_node_to_the_list_with_a_thousand_devices() {
    let mut text = String::new();
    for n in 0..500 {
        text += &format!("//- /dev/ttyUSB{n} char\n//- /dev/other{n} char\n");
    }
    let (mut node, kubelet) = Node::with_kubelet(&text, CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 500);
    kubelet.expect_devices("example.com/other", |it: &[Device]| it.len() == 500);

    let (mut times, before) = (Vec::new(), node.cpu_times());
    for n in 500..508 {
        let start = Instant::now();
        symlink("/dev/null", node.host.real(&format!("/dev/ttyUSB{n}"))).unwrap();
        kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == n + 1);
        times.push(start.elapsed());
        // So that the rest after a scan is not measured as well.
        let now = Instant::now();
        until(|| now.elapsed() > Duration::from_millis(800), String::new);
    }
    times.sort();
    eprintln!(
        "from a node to the kubelet's list: p50 {:?}, slowest {:?}",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    for (thread, after) in node.cpu_times() {
        let used = after - before.get(&thread).copied().unwrap_or_default();
        eprintln!("  {thread} used {:?} for each", used / 8);
    }
}

/// What reads it hangs in the kernel. The other resources find what is new all the same, and what was
/// found before stays.
#[test]
fn a_scan_that_hangs_holds_up_only_its_own_resource_if_we_are_root() {
    const CONFIG: &str = "version: v1
resources:
  - name: example.com/acc
    discovery:
      sysfs: class/acc
      match: [{ key: model, operator: In, values: [a] }]
      nodes: [\"/dev/{name}\"]
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }
";
    let host = "//- /sys/class/acc/acc0/model\na\n//- /dev/acc0 char\n//- /dev/ttyUSB0 char\n";
    let (mut node, kubelet) = Node::with_kubelet(host, CONFIG);
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy");
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let Some(hanging) = Hanging::over(&node.host.real("/sys/class/acc/acc0/model")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };

    node.host.add("//- /sys/class/acc/acc1/model\na\n//- /dev/acc1 char\n//- /dev/ttyUSB1 char\n");
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    until(|| node.log().contains("a read of the host is blocked"), || node.log());
    kubelet.expect_devices("example.com/acc", "acc0 Healthy");
    fs::remove_file(node.host.real("/dev/ttyUSB1")).unwrap();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    assert!(node.threads("scan-").len() <= 3, "{:?}", node.threads("scan-"));

    // Reloads neither lose what was found before, nor give it to others, nor start one more thread each.
    let rest = "  - { name: example.com/rest, discovery: { nodes: [\"/dev/acc*\"] } }\n";
    for n in 0..20 {
        let config = format!("{CONFIG}{rest}{}", "# again\n".repeat(n));
        fs::write(node.dir.path().join("new"), config).unwrap();
        fs::rename(node.dir.path().join("new"), node.dir.path().join("config.yaml")).unwrap();
        until(|| node.log().matches("configured anew").count() > n, || node.log());
    }
    kubelet.expect_devices("example.com/rest", "acc1 Healthy");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy");
    assert!(node.threads("scan-").len() <= 3, "{:?}", node.threads("scan-"));

    drop(hanging);
    until(|| node.log().contains("resource=example.com/acc the scan that was late"), || node.log());
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

/// The configuration may name a directory on a server that is gone. Nothing but what lies there suffers, at
/// start and after a reload.
#[test]
fn a_directory_that_hangs_holds_up_neither_reloads_nor_other_directories_if_we_are_root() {
    let text = |dirs: &[usize]| {
        let dead: String = dirs.iter().map(|n| format!(", \"/mnt/{n}/*\"")).collect();
        format!(
            "version: v1\nresources:\n  - {{ name: example.com/serial, discovery: {{ nodes: [\"/dev/ttyUSB*\"] }} }}\n  \
             - {{ name: example.com/dead, discovery: {{ nodes: [\"/dev/dead*\"{dead}] }} }}\n"
        )
    };
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", &text(&[0]));
    let mut hanging = Vec::new();
    for n in 0..6 {
        let dir = node.host.real(&format!("/mnt/{n}"));
        fs::create_dir_all(&dir).unwrap();
        let Some(it) = Hanging::over(&dir) else {
            eprintln!("skipped: no FUSE mounts here");
            return;
        };
        hanging.push(it);
    }
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    until(|| node.log().contains("directory=/mnt/0 cannot be watched"), || node.log());
    symlink("/dev/null", node.host.real("/dev/ttyUSB1")).unwrap();
    expect_soon(&kubelet, "example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    assert_eq!(node.threads("devdir").len(), 2);

    // Each reload names one more, in the end too many.
    for n in 1..6 {
        let dirs: Vec<usize> = (0..=n).collect();
        let start = Instant::now();
        fs::write(node.dir.path().join("new"), text(&dirs)).unwrap();
        fs::rename(node.dir.path().join("new"), node.dir.path().join("config.yaml")).unwrap();
        until(|| node.log().matches("configured anew").count() == n, || node.log());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        let said = format!("directory=/mnt/{n} cannot be watched");
        until(|| n > 3 || node.log().contains(&said), || node.log());
    }
    until(|| node.log().contains("are no longer watched: the file systems of 4"), || node.log());
    assert_eq!(node.threads("devdir").len(), 4);
    fs::remove_file(node.host.real("/dev/ttyUSB1")).unwrap();
    // Found by the clock.
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");

    // The servers are back.
    hanging.clear();
    until(|| node.log().contains("its file system answers again"), || node.log());
    until(|| node.threads("devdir").len() == 1, || format!("{:?}", node.threads("devdir")));
    symlink("/dev/null", node.host.real("/dev/ttyUSB1")).unwrap();
    expect_soon(&kubelet, "example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
}

/// Neither what is cordoned nor what was offered is known then, so that nothing may be offered.
#[test]
fn a_state_directory_that_hangs_is_said_and_does_not_keep_it_from_ending_if_we_are_root() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    let state = node.dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let Some(hanging) = Hanging::over(&state) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    node.start();
    until(|| node.log().contains("a read of what is cordoned and remembered"), || node.log());
    assert_eq!(kubelet.registrations("example.com/serial"), 0);
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success(), "{}", node.log());
    assert!(node.log().contains("stopped"), "{}", node.log());

    node.start();
    until(|| node.log().matches("started").count() == 2, || node.log());
    drop(hanging);
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
}

#[test]
fn a_configuration_file_that_hangs_keeps_it_from_neither_serving_nor_ending_if_we_are_root() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let moved = node.dir.path().join("moved");
    fs::rename(node.dir.path().join("config.yaml"), &moved).unwrap();
    until(|| node.log().contains("the configuration stays as it was"), || node.log());
    fs::write(node.dir.path().join("config.yaml"), "").unwrap();
    let Some(_hanging) = Hanging::over(&node.dir.path().join("config.yaml")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    node.signal(Signal::SIGHUP);
    until(|| node.log().contains("signal=1"), || node.log());
    kubelet.allocate_ids("example.com/serial", &["ttyUSB0"]).unwrap();
    symlink("/dev/null", node.host.real("/dev/ttyUSB1")).unwrap();
    expect_soon(&kubelet, "example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
}
