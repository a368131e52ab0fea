//! How quickly it is back after a kubelet's restart, and that two hundred of them leave no trace.

use crate::{
    daemon::{Chandler, Footprint, Node, RESOURCE},
    kubelet::Kubelet,
    release::{Release, each},
};

/// So many restarts come first: whatever is made once is made by then.
const N_WARM_UP: usize = 20;
const N_RESTARTS: usize = 200;

/// The pages that the allocator may keep for itself, in a debug build.
const RSS_ANON_GROWTH_MAX_KB: u64 = 512;

#[test]
fn two_hundred_kubelet_restarts_are_quick_and_leave_no_trace() {
    each(|release| {
        let node = Node::with_four();
        let flags = ["--node-status-period", "1ms"];
        let mut kubelet = Kubelet::real_with(release, &node.dir(), &flags);
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        for _ in 0..N_WARM_UP {
            one(&mut kubelet);
        }
        let before = chandler.footprint();

        let mut times: Vec<f64> = (0..N_RESTARTS).map(|_| one(&mut kubelet)).collect();

        let after = settled(&chandler, &before);
        report(release, &mut times, before, after);
        // Otherwise a kubelet may well be gone before it has answered.
        assert_eq!(chandler.said("already connected"), 0);
        assert_eq!(after.threads, before.threads);
        // The connection of the first call may not have been closed yet when they were counted first.
        assert!(after.descriptors <= before.descriptors, "descriptors are left behind");
        let grown = after.rss_anon_kb.saturating_sub(before.rss_anon_kb);
        assert!(grown <= RSS_ANON_GROWTH_MAX_KB, "{grown} kB more than before");
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

/// Milliseconds from `listening` until the node's status has all devices.
fn one(kubelet: &mut Kubelet) -> f64 {
    kubelet.restart();
    kubelet.expected_after(RESOURCE, 4, 4)
}

/// A connection that the kubelet has closed is noticed a moment later.
fn settled(chandler: &Chandler, before: &Footprint) -> Footprint {
    crate::transcript::eventually("the descriptors of before", || {
        chandler.footprint().descriptors <= before.descriptors
    });
    chandler.footprint()
}

fn report(release: &Release, times: &mut [f64], before: Footprint, after: Footprint) {
    times.sort_by(f64::total_cmp);
    let n = times.len();
    // Not by `println`, which the test harness keeps to itself.
    let line = format!(
        "kubelet {}: {n} restarts, listening to capacity p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; \
         threads {} to {}, descriptors {} to {}, RssAnon {} to {} kB\n",
        release.version,
        times[n / 2],
        times[n * 99 / 100],
        times[n - 1],
        before.threads,
        after.threads,
        before.descriptors,
        after.descriptors,
        before.rss_anon_kb,
        after.rss_anon_kb,
    );
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
}
