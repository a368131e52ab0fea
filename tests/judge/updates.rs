//! For how long pods are refused while one daemon takes over from another.

use std::{
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    daemon::{Chandler, Node, RESOURCE},
    deaths::slow_to_notice,
    kubelet::{Kubelet, pod_of_one},
    release::{Release, each},
    transcript::eventually,
};

const N_UPDATES: usize = 3;

/// After this without a list, the kubelet has nothing to write.
const CALM: Duration = Duration::from_millis(1_200);

/// The second for which one waits who is not sure, and what follows.
const AFTERMATH: Duration = Duration::from_millis(1_700);

/// What is wanted is 50 ms. This is for a machine that is busy, and still tells it from the second.
const REFUSED_MAX: Duration = Duration::from_millis(500);

#[test]
fn a_rolling_update_with_surge_refuses_pods_for_a_moment_only() {
    each(|release| {
        let refused = updates(release, Kubelet::real, CALM);
        report(release, "the kubelet's own code", &refused);
    });
}

/// The kubelet may be writing the list of the new one when the old one ends.
#[test]
fn so_does_one_that_ends_the_old_one_at_once() {
    each(|release| {
        let refused = updates(release, Kubelet::real, Duration::ZERO);
        report(release, "the kubelet's own code, at once", &refused);
    });
}

#[test]
fn the_simulated_kubelet_refuses_pods_as_long() {
    each(|release| {
        let simulated = |release: &Release, dir: &Path| Kubelet::simulated(release, dir, 1, &[]);
        report(release, "the simulator", &updates(release, simulated, CALM));
    });
}

/// A busy disk makes a kubelet notice the end of a stream after the early registration, which it then
/// takes for what has ended. The later one mends that.
#[test]
fn a_kubelet_that_notices_after_the_early_registration_still_notices_the_end() {
    each(|release| {
        for list_delay_ms in [25, 31, 33, 36, 40, 60, 100, 200, 400] {
            if release.minor() < 37 {
                // If its stream came and went before it looked, only the sure one comes.
                slow_to_notice(release, list_delay_ms, |n_registered, since| {
                    n_registered >= 3 || n_registered == 2 && since > AFTERMATH
                });
            }
        }
    });
}

/// The longest time for which pods were refused, in each of some updates.
fn updates(
    release: &Release,
    start: impl Fn(&Release, &Path) -> Kubelet,
    calm: Duration,
) -> Vec<Duration> {
    let node = Node::with_four();
    let mut kubelet = start(release, &node.dir());
    let mut chandler = node.chandler();
    kubelet.expect(RESOURCE, 4, 4);
    let mut refused = Vec::new();
    for _ in 0..N_UPDATES {
        let mut asker = Asker::new(&mut kubelet);
        let new = node.chandler();
        asker.ask_until(|| new.n_registered() > 0);
        asker.ask_for(calm);
        let old: Chandler = std::mem::replace(&mut chandler, new);
        let end = thread::spawn(move || old.end());
        asker.ask_for(AFTERMATH);
        assert!(end.join().unwrap().success());
        refused.push(asker.longest);
        kubelet.expect(RESOURCE, 4, 4);
        eventually("one socket alone", || node.endpoints().len() == 1);
    }
    chandler.kill();
    kubelet.expect_within(Duration::from_secs(5), RESOURCE, 4, 0);
    refused
}

/// Pods that come one right after the other.
struct Asker<'a> {
    kubelet: &'a mut Kubelet,
    /// When the last pod was admitted.
    admitted_at: Instant,
    /// Whether the latest was not.
    is_refused: bool,
    /// The longest time from one that was admitted to the next, with others between them.
    longest: Duration,
}

impl Asker<'_> {
    fn new(kubelet: &mut Kubelet) -> Asker<'_> {
        Asker { kubelet, admitted_at: Instant::now(), is_refused: false, longest: Duration::ZERO }
    }

    fn ask(&mut self) {
        let is_refused = self.kubelet.ask(pod_of_one("a", RESOURCE, 1)).error.is_some();
        if !is_refused {
            if std::mem::take(&mut self.is_refused) {
                self.longest = self.longest.max(self.admitted_at.elapsed());
            }
            self.admitted_at = Instant::now();
        }
        self.is_refused = is_refused;
        self.kubelet.ask(json!({ "cmd": "remove", "pod": "a/default/a" }));
    }

    fn ask_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.ask();
        }
    }

    fn ask_until(&mut self, mut holds: impl FnMut() -> bool) {
        eventually("what pods are asked for", || {
            self.ask();
            holds()
        });
    }
}

#[track_caller]
fn report(release: &Release, judge: &str, refused: &[Duration]) {
    if refused.is_empty() {
        return;
    }
    let ms: Vec<String> =
        refused.iter().map(|it| format!("{:.1}", it.as_secs_f64() * 1e3)).collect();
    // Not by `println`, which the test harness keeps to itself.
    let line = format!(
        "kubelet {}, {judge}: updates refused pods for {} ms\n",
        release.version,
        ms.join(", ")
    );
    drop(std::io::stderr().write_all(line.as_bytes()));
    assert!(refused.iter().all(|it| *it < REFUSED_MAX), "{line}");
}
