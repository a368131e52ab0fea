//! `chandler forget`: what was removed for good leaves the list where the kubelet cannot be asked.

use std::fs;

use crate::{
    cli::chandler,
    health::{STATUS, TWO_CARDS, config},
    kubelet::{Kubelet, Options},
    lifecycle::{Node, until},
    status::{run, stdout},
};

fn forget(node: &Node, args: &[&str]) -> (Option<i32>, String) {
    let mut command = chandler();
    command.arg("forget").args(args).arg("--state-dir").arg(node.dir.path().join("state"));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn remove(node: &Node, name: &str) {
    fs::remove_dir_all(node.host.real(&format!("/sys/class/acc/{name}"))).unwrap();
    fs::remove_file(node.host.real(&format!("/dev/{name}"))).unwrap();
}

#[test]
fn what_was_removed_leaves_the_list_when_an_operator_says_that_it_is_gone_for_good() {
    for thing in ["acc1", "example.com/acc"] {
        let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
        let (code, text) = forget(&node, &["acc1"]);
        assert!(code == Some(1) && text.contains("no daemon runs"), "{text}");
        node.start();
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
        let (code, text) = forget(&node, &[thing]);
        assert!(code == Some(1) && text.contains("is gone: only what was removed"), "{text}");
        let (code, text) = forget(&node, &["acc7"]);
        assert!(code == Some(1) && text.contains("no device acc7 is offered"), "{text}");

        remove(&node, "acc1");
        kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
        // What is told is written down a moment later.
        until(|| forget(&node, &[thing]).0 == Some(0), || node.log());
        kubelet.expect_devices("example.com/acc", "acc0 Healthy");
    }
}

#[test]
fn what_a_pod_is_known_to_hold_is_not_forgotten() {
    let mut node = Node::new(TWO_CARDS, &config(STATUS));
    let sockets = node.dir.path().join("pod-resources");
    fs::create_dir(&sockets).unwrap();
    let options =
        Options { pod_resources: Some(sockets.join("kubelet.sock")), ..Options::default() };
    let mut kubelet = Kubelet::start(&node.plugin_dir(), options);
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    kubelet.allocate("example.com/acc", 2).unwrap();
    until(|| stdout(&run(&node, &[])).matches("/main").count() == 2, || stdout(&run(&node, &[])));
    remove(&node, "acc1");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    until(
        || {
            forget(&node, &["acc1"]);
            node.log().contains("acc1 is not forgotten: ")
        },
        || node.log(),
    );
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
}
