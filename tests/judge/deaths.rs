//! Whatever has happened before, the kubelet sees the daemon's death.
//!
//! A Register that fails while an earlier stream lives makes a kubelet forget its client: it goes on
//! offering devices that nobody serves, and says nothing. So each history ends with SIGKILL.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    daemon::{Chandler, Node, RESOURCE},
    dice::Dice,
    kubelet::{Kubelet, pod_of_one},
    release::{Release, each},
    transcript::eventually,
};

const N_HISTORIES: u64 = 12;
const N_STEPS: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Step {
    Restart,
    RestartTwice,
    DeleteOurSocket,
    DeleteKubeletSock,
    DeleteDirectory,
    Freeze,
    Terminate,
    Kill,
    Surge,
}

const STEPS: [Step; 9] = [
    Step::Restart,
    Step::RestartTwice,
    Step::DeleteOurSocket,
    Step::DeleteKubeletSock,
    Step::DeleteDirectory,
    Step::Freeze,
    Step::Terminate,
    Step::Kill,
    Step::Surge,
];

#[test]
fn its_death_is_seen_after_any_history_and_the_next_one_is_served() {
    each(|release| {
        for seed in 0..N_HISTORIES {
            let mut dice = Dice::new(seed);
            let steps: Vec<Step> = (0..N_STEPS).map(|_| STEPS[dice.below(STEPS.len())]).collect();
            eprintln!("seed {seed}: {steps:?}");
            history(release, &steps);
        }
    });
}

#[test]
fn its_death_is_seen_after_each_single_step() {
    each(|release| {
        for step in STEPS {
            eprintln!("{step:?}");
            history(release, &[step]);
        }
    });
}

fn history(release: &Release, steps: &[Step]) {
    let node = Node::with_four();
    let mut kubelet = Kubelet::real(release, &node.dir());
    let mut chandler = node.chandler();
    kubelet.expect(RESOURCE, 4, 4);
    for step in steps {
        chandler = take(*step, &node, &mut kubelet, chandler, release.minor());
        kubelet.expect(RESOURCE, 4, 4);
    }
    chandler.kill();
    kubelet.expect(RESOURCE, 4, 0);

    let chandler = node.chandler();
    kubelet.expect(RESOURCE, 4, 4);
    kubelet.run("last", RESOURCE, 4);
    chandler.kill();
    kubelet.expect(RESOURCE, 4, 0);
}

fn take(
    step: Step,
    node: &Node,
    kubelet: &mut Kubelet,
    chandler: Chandler,
    minor: u32,
) -> Chandler {
    let n_registered = chandler.n_registered();
    match step {
        Step::Restart => drop(kubelet.restart()),
        Step::RestartTwice => {
            let first = kubelet.send(json!({ "cmd": "restart" }));
            kubelet.restart();
            assert!(kubelet.reply(first).is_some());
        }
        Step::DeleteOurSocket => {
            let before = node.endpoints();
            for name in &before {
                drop(fs::remove_file(node.dir().join(name)));
            }
            eventually("another socket", || {
                let now = node.endpoints();
                !now.is_empty() && now.is_disjoint(&before)
            });
            eventually("its registration", || chandler.n_registered() > n_registered);
        }
        // The kubelet serves on, so only a restart brings the file back.
        Step::DeleteKubeletSock => {
            drop(fs::remove_file(node.dir().join("kubelet.sock")));
            kubelet.restart();
        }
        Step::DeleteDirectory => {
            node.remove_dir();
            kubelet.restart();
        }
        Step::Freeze => {
            kubelet.freeze();
            let restart = kubelet.send(json!({ "cmd": "restart" }));
            kubelet.thaw();
            assert!(kubelet.reply(restart).is_some());
        }
        Step::Terminate => {
            assert!(chandler.end().success());
            kubelet.expect(RESOURCE, 4, 0);
            return node.chandler();
        }
        Step::Kill => {
            chandler.kill();
            kubelet.expect(RESOURCE, 4, 0);
            return node.chandler();
        }
        Step::Surge => return surge(node, kubelet, chandler, minor),
    }
    chandler
}

/// A rolling update that starts the new one before it ends the old one.
fn surge(node: &Node, kubelet: &mut Kubelet, old: Chandler, minor: u32) -> Chandler {
    let new = node.chandler();
    eventually("the new one's registration", || new.n_registered() == 1);
    assert!(old.end().success());
    // Until 1.36 the end of the old one takes the new one's stream with it.
    let n_registered = if minor < 37 { 2 } else { 1 };
    eventually("the new one's last registration", || new.n_registered() >= n_registered);
    kubelet.expect(RESOURCE, 4, 4);
    // Served by the one that is left, and not by what the kubelet remembers of the other.
    eventually("the new one's stream alone", || node.endpoints().len() == 1);
    new
}

#[test]
fn a_rolling_update_with_surge_ends_served_and_its_end_is_seen() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let mut chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        for round in 0..5 {
            chandler = surge(&node, &mut kubelet, chandler, release.minor());
            let pod = format!("pod-{round}");
            let pod_name = format!("{pod}/default/{pod}");
            eventually("a pod that runs", || {
                kubelet.ask(pod_of_one(&pod, RESOURCE, 1)).error.is_none()
            });
            kubelet.tell(json!({ "cmd": "remove", "pod": pod_name }));
        }
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

/// As when an update is given up: the new one registers, and is gone again. Kubelets until 1.36
/// forget the elder, which is not told.
#[test]
fn when_the_newer_of_two_leaves_the_elder_serves_on() {
    each(|release| elder_serves_on(release, |newer| assert!(newer.end().success())));
}

/// The same for one that leaves its socket behind.
#[test]
fn when_the_newer_of_two_is_killed_the_elder_serves_on() {
    each(|release| elder_serves_on(release, Chandler::kill));
}

fn elder_serves_on(release: &Release, end: impl FnOnce(Chandler)) {
    let node = Node::with_four();
    let mut kubelet = Kubelet::real(release, &node.dir());
    let elder = node.chandler();
    kubelet.expect(RESOURCE, 4, 4);
    let newer = node.chandler();
    eventually("the newer one's registration", || newer.n_registered() == 1);
    eventually("both sockets", || node.endpoints().len() == 2);
    end(newer);
    eventually("the elder's return", || elder.n_registered() == 2);
    kubelet.expect_within(Duration::from_secs(5), RESOURCE, 4, 4);
    eventually("a pod that runs", || kubelet.ask(pod_of_one("a", RESOURCE, 1)).error.is_none());
    elder.kill();
    kubelet.expect(RESOURCE, 4, 0);
}

/// Until 1.36 a kubelet that hangs up on us first writes its checkpoint, if it has just had a list
/// from us, and only then notices the end of the stream. If that falls into our next Register, it
/// takes the new client for the one that has ended, and does not notice when the new one ends. A slow disk is enough; here the
/// simulator is slow with each list.
#[test]
fn a_kubelet_that_is_slow_to_notice_that_it_hung_up_still_notices_the_end() {
    each(|release| {
        if release.minor() < 37 {
            (8..24).for_each(|list_delay_ms| {
                slow_to_notice(release, list_delay_ms, |n_registered, _| n_registered >= 2);
            });
        }
    });
}

/// The elder of two ends, and each list takes the kubelet so long. `has_settled` is asked with how often
/// the newer one has registered, and how long after that.
pub(crate) fn slow_to_notice(
    release: &Release,
    list_delay_ms: u32,
    has_settled: impl Fn(usize, Duration) -> bool,
) {
    eprintln!("each list takes {list_delay_ms} ms");
    let node = Node::with_four();
    let mut kubelet = Kubelet::simulated(release, &node.dir(), 1, &[]);
    let elder = node.chandler();
    kubelet.expect(RESOURCE, 4, 4);
    kubelet.tell(json!({ "cmd": "fault", "list_delay_ms": list_delay_ms }));
    let newer = node.chandler();
    eventually("the newer one's registration", || newer.n_registered() == 1);
    assert!(elder.end().success());
    let ended_at = Instant::now();
    eventually("its last registration", || has_settled(newer.n_registered(), ended_at.elapsed()));
    kubelet.expect(RESOURCE, 4, 4);
    newer.kill();
    kubelet.expect_within(Duration::from_secs(5), RESOURCE, 4, 0);
}
