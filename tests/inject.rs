//! `chandler inject`: a fault that is none, to see what others do about it.

use std::{fs, process::Output};

use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    health::{STATUS, TWO_CARDS, config},
    kubelet::Kubelet,
    lifecycle::Node,
};

fn started() -> (Node, Kubelet) {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    (node, kubelet)
}

/// Exit code and what is said.
fn say(node: &Node, args: &[&str]) -> (i32, String) {
    let mut command = chandler();
    command.args(args).arg("--state-dir").arg(node.dir.path().join("state"));
    command.arg("--config").arg(node.dir.path().join("config.yaml"));
    let Output { status, stdout, stderr } =
        command.arg("--host-root").arg(node.host.root()).output().unwrap();
    let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code().unwrap(), said.replace(node.dir.path().to_str().unwrap(), "DIR"))
}

#[test]
fn a_device_is_taken_for_ill_until_its_time_is_over_and_that_is_said_everywhere() {
    let (node, kubelet) = started();
    let (code, said) = say(
        &node,
        &["inject", "acc1", "--ill", "--for", "3s", "--action", "replace", "--reason", "drill\n7"],
    );
    assert_eq!(
        (code, said.as_str()),
        (0, "acc1 is ill for 3s, in DIR/state/cordons.json: injected: drill\\n7\n")
    );
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let refusal = kubelet.allocate_ids("example.com/acc", &["acc1"]).unwrap_err();
    assert!(format!("{refusal:?}").contains("injected: drill"), "{refusal:?}");
    let (_, table) = say(&node, &["discover"]);
    assert!(table.contains("example.com/acc: acc1: injected: drill"), "{table}");
    let (_, json) = say(&node, &["discover", "-o", "json"]);
    assert!(
        json.contains("\"injected\": true") && json.contains("\"action\": \"replace\""),
        "{json}"
    );

    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    assert!(node.log().contains("device=acc1 what was injected has ended"), "{}", node.log());
}

#[test]
fn what_is_injected_outlives_a_restart_and_ends_when_somebody_says_so() {
    let (mut node, kubelet) = started();
    assert_eq!(say(&node, &["inject", "acc1", "--ill"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    node.signal(Signal::SIGKILL);
    node.wait();
    let (_, table) = say(&node, &["discover"]);
    assert!(table.contains("injected: a rehearsal"), "{table}");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");

    let ended = "what was injected into acc1 has ended, in DIR/state/cordons.json\n";
    assert_eq!(say(&node, &["inject", "acc1", "--end"]), (0, ended.to_owned()));
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let (code, said) = say(&node, &["inject", "acc1", "--end"]);
    assert_eq!((code, said.as_str()), (1, "nothing is injected into acc1\n"));

    assert_eq!(say(&node, &["inject", "acc0", "--ill"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Healthy");
    assert_eq!(say(&node, &["uncordon", "acc0"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn after_a_reboot_nothing_is_injected_any_more() {
    let (mut node, kubelet) = started();
    assert_eq!(say(&node, &["inject", "acc1", "--ill", "--for", "24h"]).0, 0);
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    node.signal(Signal::SIGTERM);
    node.wait();
    // A host with another boot than the one in which it was injected.
    node.host.add("//- /proc/sys/kernel/random/boot_id\nanother\n");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
}

#[test]
fn a_degraded_device_is_offered_and_a_held_one_is_left_alone_unless_one_insists() {
    let (mut node, _kubelet) = started();
    assert_eq!(say(&node, &["inject", "acc1", "--degraded"]).0, 0);
    crate::lifecycle::until(
        || node.log().contains("acc1 taken for Degraded for 5m"),
        || node.log(),
    );
    let (_, table) = say(&node, &["discover"]);
    assert!(table.contains("acc1    Degraded"), "{table}");

    node.signal(Signal::SIGTERM);
    node.wait();
    let file = node.dir.path().join("state/offered.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("checksum");
    let holder =
        serde_json::json!({ "acc0": { "namespace": "ml", "pod": "train-0", "container": "main" } });
    value["resources"]["example.com/acc"]["acc0"]["held"] = holder;
    fs::write(&file, value.to_string()).unwrap();
    let (code, said) = say(&node, &["inject", "acc0", "--ill"]);
    assert_eq!(
        (code, said.as_str()),
        (1, "acc0 is held by ml/train-0 (main); --yes injects it all the same\n")
    );
    let (code, said) = say(&node, &["inject", "acc0", "--ill", "--yes"]);
    assert_eq!(
        (code, said.as_str()),
        (
            0,
            "acc0 is ill for 5m, once a daemon runs, in DIR/state/cordons.json: injected: a rehearsal\n"
        )
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (node, _kubelet) = started();
    for (args, code, expected) in [
        (&["acc1"][..], 2, "--ill"),
        (&["acc1", "--ill", "--degraded"], 2, "cannot be used with"),
        (
            &["acc1", "--ill", "--for", "2d"],
            2,
            "a time is a whole number with s, m or h, from 1s to 24h",
        ),
        (&["acc1", "--ill", "--for", "500ms"], 2, "from 1s to 24h"),
        (
            &["acc1", "--ill", "--action", "pray"],
            2,
            "[possible values: reset, reboot, reseat, replace, support, none]",
        ),
        (&["acc9", "--ill"], 1, "no device acc9 is offered or remembered"),
        (&["a b", "--ill"], 2, "is not a device id"),
    ] {
        let (found, said) = say(&node, &[&["inject"], args].concat());
        assert_eq!(found, code, "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
