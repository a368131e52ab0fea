//! The real program reads the real kernel's log by `syslog(2)`, without the right to open `/dev/kmsg`.

use std::{fs, process::Command};

use crate::{
    health::{TWO_CARDS, config},
    lifecycle::Node,
};

/// Has the kernel itself write a line with this word, which programs cannot. `false` if it does not.
fn has_the_kernel_said(word: &str) -> bool {
    // The older call, because the newer one has the kernel tell the caller instead of its log.
    let args = ["-t", "tmpfs", "-o", word, "none", "/mnt"];
    let refused = Command::new("mount").args(args).env("LIBMOUNT_FORCE_MOUNT2", "always").output();
    let log = Command::new("dmesg").output();
    refused.is_ok_and(|it| !it.status.success())
        && log.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains(word))
}

/// `None` where that is not possible.
fn started_with(capabilities: &str, pattern: &str) -> Option<Node> {
    let setpriv = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--bounding-set={capabilities}"), "--no-new-privs", program]);
        command
    };
    if !setpriv("true").output().is_ok_and(|it| it.status.success())
        || !has_the_kernel_said(pattern)
    {
        eprintln!(
            "skipped: needs root, setpriv, mount, dmesg, and a kernel that says which mounts it refuses"
        );
        return None;
    }
    let health = format!("      kernelLog: [{{ pattern: {pattern} }}]");
    let mut node = Node::new(TWO_CARDS, &config(&health));
    node.start_as(setpriv(env!("CARGO_BIN_EXE_chandler")));
    Some(node)
}

#[test]
fn a_line_is_heard_with_the_capability_for_the_log_and_no_other() {
    let word = format!("chandler-test-{}-one", std::process::id());
    let Some(node) = started_with("-all,+syslog", &word) else { return };
    let kubelet = node.kubelet();
    // What was said before is no news.
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    assert!(has_the_kernel_said(&word));
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let said = "the kernel's log is read each second, by syslog(2): cannot open /dev/kmsg: ";
    assert!(node.log().contains(said), "{}", node.log());
}

#[test]
fn without_that_capability_it_says_what_is_missing_and_offers_what_there_is() {
    if fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap().trim() == "0" {
        eprintln!("skipped: this kernel shows its log to everybody");
        return;
    }
    let word = format!("chandler-test-{}-none", std::process::id());
    let Some(node) = started_with("-all", &word) else { return };
    node.kubelet().expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let said = "and syslog(2), which takes CAP_SYSLOG: Operation not permitted";
    assert!(node.log().contains(said), "{}", node.log());
}
