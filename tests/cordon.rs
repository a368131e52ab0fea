//! Commands beside a daemon: what `discover` knows from it, and what `cordon` and `uncordon` do and say.

use std::fs;

use expect_test::expect;
use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    health::{self, STATUS, TWO_CARDS},
    kubelet::Kubelet,
    lifecycle::{Node, until},
};

/// `health` is what is wanted of the cards beside their status.
fn config(health: &str) -> String {
    health::config(&format!("{STATUS}\n{health}"))
}

const MANUAL: &str = "      recovery: manual";

/// Exit code, standard output and standard error, without the directories that differ from run to run.
fn say(node: &Node, args: &[&str]) -> (i32, String, String) {
    let mut command = chandler();
    command.args(args).arg("--state-dir").arg(node.dir.path().join("state"));
    command.arg("--config").arg(node.dir.path().join("config.yaml"));
    command.arg("--kubelet-dir").arg(node.plugin_dir());
    let output = command.arg("--host-root").arg(node.host.root()).output().unwrap();
    let dir = node.dir.path().to_str().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap().replace(dir, "DIR"));
    (output.status.code().unwrap(), stdout, stderr)
}

fn set_status(node: &Node, card: &str, text: &str) {
    // At once, as sysfs does: a reader never sees half of it.
    let real = node.host.real(&format!("/sys/class/acc/{card}/status"));
    let new = real.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, real).unwrap();
}

/// What the daemon has written down of its devices.
fn written(node: &Node) -> String {
    fs::read_to_string(node.dir.path().join("state/offered.json")).unwrap_or_default()
}

/// A daemon that has condemned `acc1`, which looks well again.
fn with_a_condemned_card(health: &str) -> (Node, Kubelet) {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(health));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    set_status(&node, "acc1", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    set_status(&node, "acc1", "online\n");
    until(|| written(&node).contains("offline"), || written(&node));
    (node, kubelet)
}

/// However long it took.
fn for_a_while(table: &str) -> String {
    let seconds = regex_lite::Regex::new("; for [0-9]+s").unwrap();
    seconds.replace_all(table, "; for a while").into_owned()
}

#[test]
fn discover_shows_a_device_unhealthy_that_the_daemon_has_condemned() {
    let (mut node, _kubelet) = with_a_condemned_card(MANUAL);
    let (code, table, said) = say(&node, &["discover"]);
    assert_eq!((code, said.as_str()), (0, ""));
    expect![[r#"
        RESOURCE         DEVICE  HEALTH     NUMA  NODES
        example.com/acc  acc0    Healthy    -     /dev/acc0
        example.com/acc  acc1    Unhealthy  -     /dev/acc1

        unhealthy:
          example.com/acc: acc1: `status` is `offline`, not `online` (says the daemon that runs; this probe: good); for a while
    "#]].assert_eq(&for_a_while(&table));

    // Who is gone has left it to the next.
    node.signal(Signal::SIGKILL);
    node.wait();
    let (_, table, said) = say(&node, &["discover"]);
    assert!(table.contains("acc1    Unhealthy"), "{table}");
    let left = "not `online` (as the last daemon left it; this probe: good)";
    assert!(table.contains(left), "{table}");
    expect![[r#"
        no daemon runs with the state directory DIR/state, so health is what this one probe has found, and what the last daemon left to the next; --state-dir names another
    "#]].assert_eq(&said);
}

#[test]
fn discover_with_another_state_directory_than_the_daemons_says_that_it_sees_its_own_probe_only() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    let (_, _, said) = say(&node, &["discover"]);
    assert_eq!(said, "", "nobody has ever run, and nothing is kept in mind");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let (_, _, said) = say(&node, &["discover"]);
    assert_eq!(said, "");
    let mut elsewhere = chandler();
    elsewhere.args(["discover", "--state-dir", "/nonexistent", "--config"]);
    elsewhere.arg(node.dir.path().join("config.yaml")).arg("--host-root").arg(node.host.root());
    let output = elsewhere.arg("--kubelet-dir").arg(node.plugin_dir()).output().unwrap();
    expect![[r#"
        no daemon runs with the state directory /nonexistent, so health is what this one probe has found, and what the last daemon left to the next; --state-dir names another
    "#]].assert_eq(&String::from_utf8(output.stderr).unwrap());
}

#[test]
fn uncordon_clears_a_device_that_only_an_operator_can_clear() {
    let (node, kubelet) = with_a_condemned_card(MANUAL);
    let said = ["acc0", "acc7", "acc1"].map(|it| {
        let (code, out, err) = say(&node, &["uncordon", it]);
        format!("{code}: {}", out + &err)
    });
    expect![[r#"
        1: acc0 is neither cordoned nor unhealthy
        1: acc7 is not cordoned: no device acc7 is offered or remembered with the state directory DIR/state; did you mean `acc0`?
        0: acc1 is cleared: it is offered again when its probes are good; it was unhealthy: `status` is `offline`, not `online`
    "#]].assert_eq(&said.concat());
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap();

    // Each word counts once more, and not for another device.
    set_status(&node, "acc1", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    set_status(&node, "acc1", "online\n");
    until(|| written(&node).contains("offline"), || written(&node));
    assert_eq!(say(&node, &["uncordon", "acc1", "--resource", "example.com/acc"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn what_was_cleared_before_a_daemon_started_clears_nothing_again() {
    let (mut node, kubelet) = with_a_condemned_card(MANUAL);
    assert_eq!(say(&node, &["uncordon", "acc1"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone("example.com/acc");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    set_status(&node, "acc1", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    set_status(&node, "acc1", "online\n");
    // The file is read again; its old clearance is not a new one.
    until(|| written(&node).contains("offline"), || written(&node));
    assert_eq!(say(&node, &["cordon", "acc0"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
    assert_eq!(say(&node, &["uncordon", "acc0"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
}

#[test]
fn a_cordon_of_what_nobody_knows_is_written_and_said_to_be_of_nothing_known() {
    let (mut node, kubelet) =
        Node::with_kubelet(TWO_CARDS, &(config("") + "    sharing: { replicas: 2 }\n"));
    let before = say(&node, &["cordon", "acc0"]);
    node.start();
    kubelet.expect_devices(
        "example.com/acc",
        "acc0::0 Unhealthy\nacc0::1 Unhealthy\nacc1::0 Healthy\nacc1::1 Healthy",
    );
    until(|| written(&node).contains("acc1::1"), || written(&node));
    let said = [
        before,
        say(&node, &["cordon", "acc1", "--reason", "loose plug"]),
        say(&node, &["cordon", "acc2"]),
        say(&node, &["cordon", "acc1::1"]),
        say(&node, &["cordon", "acc1", "--resource", "example.com/ac"]),
        say(&node, &["cordon", "elsewhere"]),
    ];
    let said: Vec<String> =
        said.into_iter().map(|(code, out, err)| format!("{code}: {}", out + &err)).collect();
    expect![[r#"
        1: cordoned acc0, in DIR/state/cordons.json, but no daemon has run with the state directory DIR/state, so no device acc0 is known; --state-dir names another
        0: cordoned acc1, in DIR/state/cordons.json: loose plug
        1: cordoned acc2, in DIR/state/cordons.json, but no device acc2 is offered or remembered with the state directory DIR/state; did you mean `acc0`?
        1: cordoned acc1::1, in DIR/state/cordons.json, but no device acc1::1 is offered or remembered with the state directory DIR/state; did you mean `acc1`?
        1: cordoned acc1, in DIR/state/cordons.json, but no device acc1 of example.com/ac is offered or remembered with the state directory DIR/state; example.com/acc has one of this name
        1: cordoned elsewhere, in DIR/state/cordons.json, but no device elsewhere is offered or remembered with the state directory DIR/state
    "#]].assert_eq(&said.concat());
    let file = fs::read_to_string(node.dir.path().join("state/cordons.json")).unwrap();
    assert!(file.contains("elsewhere"), "{file}");
}

fn cordons_file(node: &Node) -> std::path::PathBuf {
    node.dir.path().join("state/cordons.json")
}

/// A file of cordons as a crash, a full disk or an operator may leave it.
const BROKEN: [&str; 3] = ["", "{\"version\":1,\"cordons\":[{\"dev", "\0"];

fn kill(node: &mut Node, kubelet: &Kubelet) {
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone("example.com/acc");
}

#[test]
fn a_cordon_holds_over_a_restart_though_its_file_is_broken() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    say(&node, &["cordon", "acc0"]);
    let file = cordons_file(&node);
    let whole = fs::read_to_string(&file).unwrap();
    let long = " ".repeat(2 * 1024 * 1024) + &whole;
    let all = BROKEN.iter().copied().map(Some).chain([Some(long.as_str()), None]);
    for (n_before, broken) in all.enumerate() {
        fs::remove_file(&file).unwrap();
        match broken {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::create_dir(&file).unwrap(),
        }
        node.start();
        kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
        let said = "; what is cordoned is taken from ";
        until(|| node.log().matches(said).count() > n_before, || node.log());
        assert!(!node.log().contains("nothing is cordoned"), "{}", node.log());
        kill(&mut node, &kubelet);
    }
}

#[test]
fn what_was_cordoned_by_hand_holds_over_a_restart_though_the_file_is_broken() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    let file = cordons_file(&node);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let by_hand = r#"{"version":1,"cordons":[{"device":"acc1","reason":"fan"}]}"#;
    fs::write(&file, by_hand).unwrap();
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    kill(&mut node, &kubelet);
    fs::write(&file, "").unwrap();
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
}

#[test]
fn a_daemon_without_any_file_of_cordons_that_can_be_used_says_that_nothing_is_cordoned() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(MANUAL));
    say(&node, &["cordon", "acc0"]);
    let file = cordons_file(&node);
    fs::write(&file, "").unwrap();
    fs::write(file.with_extension("json.last-good"), "{").unwrap();
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    until(|| node.log().contains("; nothing is cordoned, since "), || node.log());
    assert!(!node.log().contains("stays so"), "{}", node.log());

    // What the mended file clears was wrong in the eyes of a process before us.
    set_status(&node, "acc1", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    set_status(&node, "acc1", "online\n");
    until(|| written(&node).contains("offline"), || written(&node));
    let mended = r#"{"version":1,"cordons":[{"device":"acc0","reason":"fan"}],
        "cleared":[{"device":"acc1","token":"0123456789abcdef"}]}"#;
    fs::write(file.with_extension("new"), mended).unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
    // What is cleared from now on counts.
    assert_eq!(say(&node, &["uncordon", "acc0"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    assert_eq!(say(&node, &["uncordon", "acc1"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn a_broken_file_of_cordons_is_left_alone_and_the_commands_say_what_to_do() {
    let (node, _kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    say(&node, &["cordon", "acc0", "--reason", "fan"]);
    let file = cordons_file(&node);
    fs::write(&file, "").unwrap();
    let (_, table, shown) = say(&node, &["discover"]);
    assert!(table.contains("acc0    Unhealthy"), "{table}");
    let mut said = vec![say(&node, &["cordon", "acc1"]), say(&node, &["uncordon", "acc0"])];
    fs::remove_file(file.with_extension("json.last-good")).unwrap();
    said.push(say(&node, &["cordon", "acc1"]));
    let said: Vec<String> =
        said.into_iter().map(|(code, out, err)| format!("{code}: {}", out + &err)).collect();
    let shown = shown.split_once(' ').unwrap().1;
    expect![[r#"
        WARN  DIR/state/cordons.json: EOF while parsing a value at line 1 column 0; what is cordoned is taken from DIR/state/cordons.json.last-good
        1: DIR/state/cordons.json: EOF while parsing a value at line 1 column 0; mend the file, or put DIR/state/cordons.json.last-good in its place
        1: DIR/state/cordons.json: EOF while parsing a value at line 1 column 0; mend the file, or put DIR/state/cordons.json.last-good in its place
        1: DIR/state/cordons.json: EOF while parsing a value at line 1 column 0; mend the file, or remove it, and then nothing is cordoned
    "#]].assert_eq(&(shown.to_owned() + &said.concat()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn what_only_an_operator_can_end_outlives_the_daemon_however_it_ends() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (mut node, kubelet) = with_a_condemned_card(MANUAL);
        node.signal(signal);
        node.wait();
        kubelet.expect_gone("example.com/acc");
        node.start();
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
        let refusal = kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap_err();
        assert!(refusal.contains("`status` is `offline`"), "{refusal}");
        let said = "device=acc1 still unhealthy: `status` is `offline`";
        assert_eq!(node.log().matches(said).count(), 1, "{}", node.log());
        assert_eq!(say(&node, &["uncordon", "acc1"]).0, 0);
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    }
}

#[test]
fn what_is_cleared_while_no_daemon_runs_is_offered_by_the_next() {
    let (mut node, kubelet) = with_a_condemned_card(MANUAL);
    kill(&mut node, &kubelet);
    let (code, said, _) = say(&node, &["uncordon", "acc1"]);
    expect![[r#"
        acc1 is cleared: it is offered again when a daemon runs and its probes are good; it was unhealthy: `status` is `offline`, not `online`
    "#]].assert_eq(&said);
    assert_eq!(code, 0);
    let (_, table, _) = say(&node, &["discover"]);
    assert!(table.contains("acc1    Healthy"), "{table}");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");

    // So is what was ill beneath its cordon.
    set_status(&node, "acc1", "offline\n");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    set_status(&node, "acc1", "online\n");
    until(|| written(&node).contains("offline"), || written(&node));
    assert_eq!(say(&node, &["cordon", "acc1"]).0, 0);
    kill(&mut node, &kubelet);
    assert_eq!(say(&node, &["uncordon", "acc1"]).0, 0);
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn a_reboot_heals_what_recovers_by_itself_and_not_what_waits_for_an_operator() {
    for (health, expected) in [
        ("      recovery: 10m", "acc0 Healthy\nacc1 Healthy"),
        (MANUAL, "acc0 Healthy\nacc1 Unhealthy"),
    ] {
        let (mut node, kubelet) = with_a_condemned_card(health);
        kill(&mut node, &kubelet);
        node.start();
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
        kill(&mut node, &kubelet);
        node.host.add("//- /proc/sys/kernel/random/boot_id\nanother\n");
        node.start();
        kubelet.expect_devices("example.com/acc", expected);
    }
}
