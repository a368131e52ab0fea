//! What one device costs, in system calls, where there are 500 and where there are 5,000: what one does must not cost
//! the rest. Calls are counted, since they are the same on a slow machine and on a busy one.

mod allocations;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    ops::Range,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::{
    signal::Signal,
    stat::{Mode, SFlag, makedev, mknod},
};
use tempfile::TempDir;

use crate::{
    kubelet::{Device, Kubelet},
    lifecycle::{Node, until},
};

const RESOURCE: &str = "example.com/null";
const FEW: usize = 500;
const MANY: usize = 5_000;
/// How many calls a scan and what follows from it makes for each device at most.
const N_SCAN_MAX: usize = 4;
/// The same of a probe.
const N_PROBE_MAX: usize = 4;
/// How many calls of the daemon belong to no device: its threads wake each other, and its clocks tick.
const N_OTHERS_MAX: usize = 300;
/// Longer than the daemon waits before it scans once more.
const REST: Duration = Duration::from_millis(3_500);
const N_ALLOCATIONS: usize = 50;

/// A daemon with many device nodes of one number, and somebody who counts its calls.
struct World {
    node: Node,
    kubelet: Kubelet,
    devices: TempDir,
    /// With what it says about itself: it would end if nobody could be told.
    tracer: Option<(Child, BufReader<ChildStderr>)>,
}

impl World {
    /// Nothing where device nodes cannot be made.
    fn new(n: usize, health: &str) -> Option<World> {
        let devices = tempfile::tempdir().unwrap();
        for it in 0..n {
            if let Err(err) = plug(&devices, it) {
                eprintln!("skipped: device nodes cannot be made here: {err}");
                return None;
            }
        }
        let config = format!(
            "version: v1\nresources:\n  - {{ name: {RESOURCE}, exclusive: false, \
             discovery: {{ nodes: [\"{}/n*\"] }}, health: {health} }}\n",
            devices.path().display()
        );
        let (mut node, kubelet) = Node::with_kubelet("", &config);
        node.start_on_this_machine();
        kubelet.expect_devices(RESOURCE, |it: &[Device]| it.len() == n && it.iter().all(is_good));
        Some(World { node, kubelet, devices, tracer: None })
    }

    /// From now on calls are counted. False where they cannot be.
    fn trace(&mut self) -> bool {
        let tracer = Command::new("strace")
            .args(["-f", "-p", &self.node.pid().to_string(), "-o"])
            .arg(self.trace_path())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tracer) = tracer else {
            eprintln!("skipped: there is no strace (Debian's package `strace`)");
            return false;
        };
        let (mut reader, mut said) = (BufReader::new(tracer.stderr.take().unwrap()), String::new());
        reader.read_line(&mut said).unwrap();
        self.tracer = Some((tracer, reader));
        if said.contains("attached") {
            return true;
        }
        eprintln!("skipped: strace may not be used here: {said}");
        false
    }

    fn trace_path(&self) -> PathBuf {
        self.node.dir.path().join("trace")
    }

    /// All calls so far, once no scan is to come: what changes is scanned again up to two seconds later.
    fn calls(&self) -> Vec<String> {
        let (mut len, mut since) = (0, Instant::now());
        let is_at_rest = || {
            let now = fs::metadata(self.trace_path()).map_or(0, |it| it.len());
            // Clocks tick on; a scan writes much more at a time.
            if now > len + 8_192 {
                since = Instant::now();
            }
            len = now;
            since.elapsed() > REST
        };
        until(is_at_rest, || self.node.log());
        self.calls_now()
    }

    fn calls_now(&self) -> Vec<String> {
        let lines = BufReader::new(File::open(self.trace_path()).unwrap()).lines();
        // The second half of a call that another thread has interrupted is none.
        lines.map_while(Result::ok).filter(|it| !it.contains(" resumed>")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((tracer, _)) = &mut self.tracer {
            // It ends with what it traces.
            self.node.signal(Signal::SIGKILL);
            drop(tracer.wait());
        }
    }
}

/// Makes a node of the device that `/dev/null` is.
fn plug(devices: &TempDir, n: usize) -> nix::Result<()> {
    let path = devices.path().join(format!("n{n}"));
    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))
}

fn is_good(device: &Device) -> bool {
    device.health == "Healthy"
}

/// At most so many calls for each of `n` devices, besides those of none.
#[track_caller]
fn expect_calls(what: &str, calls: &[String], n: usize, n_each_max: usize) {
    let n_max = n * n_each_max + N_OTHERS_MAX;
    let some = calls.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(calls.len() <= n_max, "{what} of {n} devices: {} calls:\n{some}", calls.len());
    eprintln!("{what} of {n} devices: {} calls", calls.len());
}

#[test]
fn an_allocation_costs_the_same_among_500_and_among_5000_devices() {
    let n_calls = |n: usize| {
        let mut world = World::new(n, "{ interval: 1h }")?;
        if !world.trace() {
            return None;
        }
        let before = world.calls().len();
        for _ in 0..N_ALLOCATIONS {
            world.kubelet.allocate_ids(RESOURCE, &["n7"]).unwrap();
        }
        Some(world.calls().len() - before)
    };
    let Some(few) = n_calls(FEW) else { return };
    let Some(many) = n_calls(MANY) else { return };
    eprintln!("{N_ALLOCATIONS} allocations: {few} calls among {FEW}, {many} among {MANY}");
    // One call for each device would be ten times this; how often threads wake each other varies.
    assert!(many <= few * 3 / 2 + N_OTHERS_MAX, "{few} calls, {many} calls");
}

#[test]
fn a_device_that_goes_or_comes_costs_four_calls_for_each_other_at_most() {
    for n in [FEW, MANY] {
        let Some(mut world) = World::new(n, "{ interval: 1h }") else { return };
        if !world.trace() {
            return;
        }
        let before = world.calls().len();
        fs::remove_file(world.devices.path().join("n7")).unwrap();
        world.kubelet.expect_devices(RESOURCE, |it: &[Device]| {
            it.iter().any(|it| it.id == "n7" && !is_good(it))
        });
        let calls = world.calls();
        expect_calls("a removal", &calls[before..], n, N_SCAN_MAX);

        plug(&world.devices, 7).unwrap();
        world.kubelet.expect_devices(RESOURCE, |it: &[Device]| it.iter().all(is_good));
        // With what is scanned again up to two seconds later, since its driver may not have been done.
        expect_calls("an arrival", &world.calls()[calls.len()..], n, N_SCAN_MAX);
    }
}

#[test]
fn a_round_of_probes_costs_four_calls_for_each_device_at_most() {
    for n in [FEW, MANY] {
        let Some(mut world) = World::new(n, "{ interval: 2s }") else { return };
        if !world.trace() {
            return;
        }
        let mut round = None;
        let is_seen = || {
            round = last_round(&world.calls_now());
            round.is_some()
        };
        until(is_seen, || world.node.log());
        expect_calls("a round of probes", &world.calls_now()[round.unwrap()], n, N_PROBE_MAX);
    }
}

/// From one probe of a device to its next, the one before the last being the first that was seen in full.
fn last_round(calls: &[String]) -> Option<Range<usize>> {
    let probes = calls.iter().enumerate().filter(|(_, it)| it.contains("/n7\""));
    let probes: Vec<usize> = probes.map(|(at, _)| at).collect();
    match probes[..] {
        [.., from, to] if to - from > 1 => Some(from..to),
        _ => None,
    }
}
