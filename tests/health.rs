//! The real program hears that devices are ill, says so to the kubelet, and gets over it.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    fixture::Fixture,
    lifecycle::{Node, until},
};

pub(crate) const TWO_CARDS: &str = "//- /sys/class/acc/acc0/status
online
//- /sys/class/acc/acc1/status
online
//- /dev/acc0 char
//- /dev/acc1 char
";

/// `health` is what is wanted of the cards.
pub(crate) fn config(health: &str) -> String {
    format!(
        "version: v1
resources:
  - name: example.com/acc
    discovery: {{ sysfs: class/acc, nodes: [\"/dev/{{name}}\"] }}
    health:
      interval: 300ms
{health}
"
    )
}

pub(crate) const STATUS: &str = "      rules: [{ key: status, operator: In, values: [online] }]";

fn set(node: &Node, path: &str, text: &str) {
    // At once, as sysfs does: a reader never sees half of it.
    let real = node.host.real(path);
    let new = real.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, real).unwrap();
}

#[test]
fn a_device_whose_attribute_turns_bad_is_withdrawn_with_the_reason_and_offered_again() {
    let (mut node, kubelet) =
        Node::with_kubelet(TWO_CARDS, &config(&format!("{STATUS}\n      healthyAfter: 3")));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");

    set(&node, "/sys/class/acc/acc1/status", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap_err();
    assert!(
        refusal.contains(
            "device acc1 of example.com/acc is unhealthy: `status` is `offline`, not `online`"
        ),
        "{refusal}"
    );
    kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap();

    set(&node, "/sys/class/acc/acc1/status", "online\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap();
    let log = node.log();
    assert_eq!(log.matches("device=acc1 unhealthy: `status`").count(), 1, "{log}");
    assert_eq!(log.matches("device=acc1 healthy again").count(), 1, "{log}");
}

#[test]
fn a_device_that_is_degraded_is_offered_and_shown_with_what_mends_it_and_since_when() {
    let rules = "      rules:
        - { key: width, operator: In, values: [16], severity: degraded, action: reseat }
        - { key: status, operator: In, values: [online], action: replace }";
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(rules));
    node.host.add("//- /sys/class/acc/acc0/width\n16\n//- /sys/class/acc/acc1/width\n8\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap();
    let said = "device=acc1 degraded: `width` is `8`, not `16`; action: reseat";
    assert!(node.log().contains(said), "{}", node.log());

    set(&node, "/sys/class/acc/acc0/status", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
    let state = || fs::read_to_string(node.dir.path().join("state/offered.json")).unwrap();
    until(|| state().contains("offline") && state().contains(r#""degraded":"`width`"#), state);
    let table = discover(&node, "table");
    assert!(table.contains("acc1    Degraded "), "{table}");
    let ill = "unhealthy:\n  example.com/acc: acc0: `status` is `offline`, not `online`; for ";
    let degraded = "degraded:\n  example.com/acc: acc1: `width` is `8`, not `16`; for ";
    assert!(table.contains(ill) && table.contains("s; action: replace\n"), "{table}");
    assert!(table.contains(degraded) && table.contains("s; action: reseat\n"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&discover(&node, "json")).unwrap();
    let shown = &json["resources"][0]["devices"][1];
    assert_eq!((&shown["health"], &shown["action"]), (&"Degraded".into(), &"reseat".into()));
    assert!(shown["since"].as_str().unwrap().ends_with('Z'), "{shown}");
}

#[test]
fn what_was_first_seen_of_a_card_counts_after_a_restart_and_until_it_is_uncordoned() {
    let rules = "      rules: [{ key: width, operator: Ge, values: ['{baseline}'] }]";
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(rules));
    node.host.add("//- /sys/class/acc/acc0/width\n16\n//- /sys/class/acc/acc1/width\n8\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let state = || fs::read_to_string(node.dir.path().join("state/offered.json")).unwrap();
    until(|| state().contains(r#""seen":{"width":["16"]}"#), state);
    node.signal(Signal::SIGTERM);
    node.wait();

    set(&node, "/sys/class/acc/acc0/width", "8\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap_err();
    assert!(refusal.contains("`width` is `8`, below 16 (`16` was first seen)"), "{refusal}");
    let mut uncordon = chandler();
    uncordon.args(["uncordon", "acc0", "--state-dir"]).arg(node.dir.path().join("state"));
    assert!(uncordon.output().unwrap().status.success());
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn an_attribute_that_disappears_makes_that_device_unhealthy_and_no_other() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    fs::remove_file(node.host.real("/sys/class/acc/acc0/status")).unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap_err();
    assert!(refusal.contains("no attribute `status`"), "{refusal}");
}

#[test]
fn a_device_that_is_ill_from_the_beginning_is_never_offered() {
    let (mut node, kubelet) =
        Node::with_kubelet(TWO_CARDS, &config(&format!("{STATUS}\n      unhealthyAfter: 5")));
    set(&node, "/sys/class/acc/acc1/status", "offline\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let history = kubelet.history();
    assert!(!history.contains("acc1 Healthy"), "{history}");
}

#[test]
fn a_counter_that_rises_and_a_node_that_becomes_another_thing_are_seen() {
    let (mut node, kubelet) = Node::with_kubelet(
        TWO_CARDS,
        &config("      rules: [{ key: errors, operator: Rises, values: [2, 1h] }]"),
    );
    node.host.add("//- /sys/class/acc/acc0/errors\n40\n//- /sys/class/acc/acc1/errors\n7\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");

    set(&node, "/sys/class/acc/acc0/errors", "42\n");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap_err();
    assert!(refusal.contains("`errors` rose from 40 to 42 within 1h"), "{refusal}");
    set(&node, "/dev/acc1", "not a device");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
}

#[test]
fn a_reload_does_not_forgive_a_counter_that_rose_unless_its_rule_is_another() {
    let text = config("      rules: [{ key: errors, operator: Rises, values: [2, 1h] }]");
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &text);
    node.host.add("//- /sys/class/acc/acc0/errors\n40\n//- /sys/class/acc/acc1/errors\n7\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    set(&node, "/sys/class/acc/acc0/errors", "42\n");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");

    let file = node.dir.path().join("config.yaml");
    // What acc1's counter is compared with is from before the reload.
    fs::write(&file, text.replace("300ms", "100ms")).unwrap();
    until(|| node.log().contains("configured anew"), || node.log());
    set(&node, "/sys/class/acc/acc1/errors", "9\n");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
    assert!(!node.log().contains("healthy again"), "{}", node.log());

    fs::write(&file, text.replace("[2, 1h]", "[2, 2h]")).unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn a_command_may_judge_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("ill");
    fs::write(&list, "").unwrap();
    // No shell: grep fails when it finds nothing, and is asked whether it found something else.
    let health = format!(
        "      command: {{ run: [/bin/sh, -c, 'if grep -q \"$0\" {}; then echo on the list; exit 4; fi', \"{{name}}\"] }}",
        list.display()
    );
    let config = config(&health).replacen("300ms", "1s", 1);
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config);
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    fs::write(&list, "acc1\n").unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap_err();
    assert!(refusal.contains("/bin/sh ended with exit status: 4: on the list"), "{refusal}");
}

#[test]
fn what_nobody_configured_is_looked_at_all_the_same() {
    let fixture = Fixture::new(
        "//- /sys/class/acc/acc0 -> ../../devices/pci0000:00/0000:00:05.0/acc/acc0
//- /sys/class/acc/acc1 -> ../../devices/pci0000:00/0000:00:06.0/acc/acc1
//- /sys/devices/pci0000:00/0000:00:05.0/acc/acc0/x
//- /sys/devices/pci0000:00/0000:00:05.0/vendor
0x15b3
//- /sys/devices/pci0000:00/0000:00:06.0/acc/acc1/x
//- /sys/devices/pci0000:00/0000:00:06.0/vendor
0x15b3
//- /sys/devices/pci0000:00/0000:00:06.0/power/runtime_status
active
//- /dev/acc0 char
//- /dev/acc1 char
",
    );
    let function = "/sys/devices/pci0000:00/0000:00:06.0";
    let reason = || {
        let file = fixture.root().join("config.yaml");
        let resource =
            "{ name: example.com/acc, discovery: { sysfs: class/acc, nodes: [\"/dev/{name}\"] } }";
        fs::write(&file, format!("version: v1\nresources: [{resource}]\n")).unwrap();
        let mut command = chandler();
        command.args(["discover", "-o", "json", "--config"]).arg(&file);
        let output = command.arg("--host-root").arg(fixture.root()).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let devices = shown["resources"][0]["devices"].as_array().unwrap().clone();
        assert_eq!(devices[0]["health"], "Healthy", "{shown}");
        assert_eq!(devices[0].get("reason"), None);
        let healthy = devices[1]["health"] == "Healthy";
        assert_eq!(healthy, devices[1].get("reason").is_none(), "{shown}");
        devices[1]["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(reason(), "");

    // A virtual function has no numbers of its own; a whole header of ones is no function at all.
    let mut bytes = [0xff; 64];
    bytes[8] = 1;
    fs::write(fixture.real(&format!("{function}/config")), bytes).unwrap();
    assert_eq!(reason(), "");
    fs::write(fixture.real(&format!("{function}/config")), [0xff; 64]).unwrap();
    assert_eq!(reason(), "the PCI link to 0000:00:06.0 is lost: its configuration reads all ones");
    fs::write(fixture.real(&format!("{function}/power/runtime_status")), "suspended\n").unwrap();
    assert_eq!(reason(), "", "a sleeping function is not woken");
    fs::write(fixture.real(&format!("{function}/vendor")), "0xffff\n").unwrap();
    assert_eq!(reason(), "the PCI link to 0000:00:06.0 is lost: its vendor reads all ones");
}

/// A file that never answers: a mount that nobody serves. It needs root and `/dev/fuse`.
pub(crate) struct Hanging {
    at: PathBuf,
    // As long as it is open, the kernel waits for us.
    _server: File,
}

impl Hanging {
    pub(crate) fn over(at: &Path) -> Option<Hanging> {
        let fuse = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let fd = fuse.as_raw_fd();
        let mode = if at.is_dir() { "40000" } else { "100000" };
        let options = format!("fd={fd},rootmode={mode},user_id=0,group_id=0");
        // mount(8) inherits the descriptor, which is not what Rust does by default.
        nix::fcntl::fcntl(&fuse, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).ok()?;
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-i", "-t", "fuse", "-o", &options, "hang"]).arg(at).output();
        nix::fcntl::fcntl(&fuse, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).ok()?;
        match mounted {
            Ok(output) if output.status.success() => {
                Some(Hanging { at: at.to_owned(), _server: fuse })
            }
            _ => None,
        }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // By force, so that everybody who waits gets an error.
        drop(Command::new("umount").args(["-f", "-l"]).arg(&self.at).output());
    }
}

#[test]
fn a_device_that_never_answers_holds_up_nobody_but_itself_if_we_are_root() {
    let health = format!("{STATUS}\n      timeout: 100ms");
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(&health));
    node.host.add("//- /sys/class/acc/acc2/status\nonline\n//- /dev/acc2 char\n");
    let Some(hanging) = Hanging::over(&node.host.real("/sys/class/acc/acc1/status")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy\nacc2 Healthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap_err();
    assert!(refusal.contains("probe timed out after 100ms"), "{refusal}");

    // The others are looked at as before.
    set(&node, "/sys/class/acc/acc2/status", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy\nacc2 Unhealthy");
    let threads = || node.threads("probe-");
    until(|| threads().len() == 2, || format!("one hangs, one works: {:?}", threads()));

    // It comes back, and can be asked again.
    drop(hanging);
    until(|| node.log().contains("has come back"), || node.log());
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy\nacc2 Unhealthy");
}

#[test]
fn healthy_devices_need_not_wait_for_the_timeouts_of_dead_ones_if_we_are_root() {
    let health = format!("      interval: 100s\n      timeout: 1500ms\n{STATUS}");
    let config = config(&health).replacen("      interval: 300ms\n", "", 1);
    let fixture = Fixture::new(TWO_CARDS);
    let mut hanging = Vec::new();
    for n in 2..5 {
        let status = format!("/sys/class/acc/acc{n}/status");
        fixture.add(&format!("//- {status}\nonline\n//- /dev/acc{n} char\n"));
        hanging.extend(Hanging::over(&fixture.real(&status)));
    }
    fixture.add("//- /sys/class/acc/acc5/status\noffline\n//- /dev/acc5 char\n");
    if hanging.len() < 3 {
        eprintln!("skipped: no FUSE mounts here");
        return;
    }
    let config = chandler::config::parse("c.yaml", &config).unwrap();
    let found = chandler::discovery::scan(&fixture.host, &config);
    let start = Instant::now();
    let verdicts = chandler::probe::once(&fixture.host, &config, &found);
    assert!(start.elapsed() < Duration::from_secs(4), "one after the other: {:?}", start.elapsed());
    let words: Vec<String> = verdicts
        .into_iter()
        .map(|((_, id), health)| format!("{id} {health:?}"))
        .filter(|it| !it.contains("Healthy") || it.contains("Unhealthy"))
        .collect();
    assert_eq!(words.len(), 4, "{words:?}");
    assert_eq!(words.iter().filter(|it| it.contains("probe timed out after 1500ms")).count(), 3);
    assert!(words[3].contains("`status` is `offline`"), "{words:?}");
}

#[test]
fn a_node_full_of_dead_devices_gets_a_bounded_number_of_threads_if_we_are_root() {
    const N_DEAD: usize = 24;
    let (mut node, kubelet) =
        Node::with_kubelet("", &config(&format!("{STATUS}\n      timeout: 20ms")));
    let mut hanging = Vec::new();
    for n in 0..N_DEAD {
        let status = format!("/sys/class/acc/acc{n}/status");
        node.host.add(&format!("//- {status}\nonline\n//- /dev/acc{n} char\n"));
        hanging.extend(Hanging::over(&node.host.real(&status)));
    }
    if hanging.len() < N_DEAD {
        eprintln!("skipped: no FUSE mounts here");
        return;
    }
    node.start();
    kubelet.expect_capacity("example.com/acc", N_DEAD, 0);
    until(|| node.log().contains("probing has stopped"), || node.log());
    let threads = || node.threads("probe-");
    assert!((16..24).contains(&threads().len()), "{:?}", threads());
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc23"]).unwrap_err();
    assert!(refusal.contains("not probed yet"), "{refusal}");

    drop(hanging);
    kubelet.expect_capacity("example.com/acc", N_DEAD, N_DEAD);
    assert!(node.log().contains("probing goes on"), "{}", node.log());
    until(|| threads().len() <= 8, || threads().join(" "));
}

/// What `chandler discover` shows of a node.
fn discover(node: &Node, output: &str) -> String {
    let mut discover = chandler();
    discover
        .args(["discover", "-o", output])
        .arg("--config")
        .arg(node.dir.path().join("config.yaml"));
    discover.arg("--state-dir").arg(node.dir.path().join("state"));
    let output = discover.arg("--host-root").arg(node.host.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_ends_while_a_probe_hangs_if_we_are_root() {
    let health = format!("{STATUS}\n      timeout: 100ms");
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(&health));
    let Some(_hanging) = Hanging::over(&node.host.real("/sys/class/acc/acc1/status")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    let table = discover(&node, "table");
    assert!(table.contains("\nunhealthy:\n  example.com/acc: acc1: probe timed out"), "{table}");

    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let start = Instant::now();
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn discover_shows_the_rest_while_a_scan_hangs_if_we_are_root() {
    let config = "version: v1
resources:
  - name: example.com/acc
    discovery:
      sysfs: class/acc
      match: [{ key: status, operator: Exists }]
      nodes: [\"/dev/{name}\"]
  - { name: example.com/tty, discovery: { nodes: [\"/dev/tty*\"] } }
";
    let node = Node::new(&format!("{TWO_CARDS}//- /dev/tty1 char\n"), config);
    let Some(_hanging) = Hanging::over(&node.host.real("/sys/class/acc/acc1/status")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    let table = discover(&node, "table");
    assert!(table.contains("tty1"), "{table}");
    assert!(table.contains("a read of the host is blocked"), "{table}");
}

#[test]
fn a_cordoned_device_is_unhealthy_at_once_and_after_a_restart_until_it_is_uncordoned() {
    let (mut node, kubelet) = crate::lifecycle::Node::with_kubelet(
        "//- /dev/ttyUSB0 char\n//- /dev/ttyUSB1 char\n",
        "version: v1\nresources: [{ name: example.com/tty, discovery: { nodes: [\"/dev/tty*\"] } }]\n",
    );
    let state = node.dir.path().join("state");
    let say = |args: &[&str]| {
        let status =
            crate::cli::chandler().args(args).arg("--state-dir").arg(&state).status().unwrap();
        status.code()
    };
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");

    let written = || fs::read_to_string(state.join("offered.json")).unwrap_or_default();
    until(|| written().contains("ttyUSB1"), written);
    assert_eq!(say(&["cordon", "ttyUSB1", "--reason", "loose plug"]), Some(0));
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");
    let refusal = kubelet.allocate_ids("example.com/tty", &["ttyUSB1"]).unwrap_err();
    assert!(refusal.contains("cordoned: loose plug"), "{refusal}");
    let shown = discover(&node, "table");
    assert!(shown.contains("ttyUSB1: cordoned: loose plug"), "{shown}");

    node.signal(nix::sys::signal::Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone("example.com/tty");
    node.start();
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Unhealthy");

    assert_eq!(say(&["uncordon", "ttyUSB1"]), Some(0));
    kubelet.expect_devices("example.com/tty", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    until(|| !written().contains("cordoned"), written);
    assert_eq!(say(&["uncordon", "ttyUSB1"]), Some(1), "it is not cordoned any more");
    assert_eq!(say(&["cordon", "two words"]), Some(2));
}
