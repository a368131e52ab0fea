//! The real program cleans what pods give back, before others get it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chandler::{
    config,
    decide::inventory::{Inventory, SCAN_INTERVAL},
    model::event::{Effect, Event, PluginEvent},
};
use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    kubelet::{Kubelet, Options},
    lifecycle::{Node, until},
};

const ACC: &str = "example.com/acc";

const ONE_CARD: &str = "//- /sys/class/acc/acc0/status\nonline\n//- /dev/acc0 char\n";

fn config(rest: &str) -> String {
    format!(
        "version: v1
resources:
  - name: example.com/acc
    discovery: {{ sysfs: class/acc, nodes: [\"/dev/{{name}}\"] }}
    {rest}
"
    )
}

/// A node whose kubelet says who holds what.
fn node(host: &str, rest: &str) -> (Node, Kubelet) {
    let node = Node::new(host, &config(rest));
    let sockets = node.dir.path().join("pod-resources");
    fs::create_dir(&sockets).unwrap();
    let options =
        Options { pod_resources: Some(sockets.join("kubelet.sock")), ..Options::default() };
    let kubelet = Kubelet::start(&node.plugin_dir(), options);
    (node, kubelet)
}

/// A program that cleans: it says for which device it was run, and succeeds when `allowed` is there.
struct Hook {
    dir: tempfile::TempDir,
}

impl Hook {
    fn new() -> Hook {
        Hook { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rest(&self) -> String {
        let (runs, allowed) = (self.path("runs"), self.path("allowed"));
        format!(
            "release: [{{ command: [/bin/sh, -c, \"echo $0 >> $1; ls $2\", \"{{id}}\", \"{}\", \"{}\"] }}]",
            runs.display(),
            allowed.display()
        )
    }

    fn allow(&self) {
        fs::write(self.path("allowed"), "").unwrap();
    }

    fn runs(&self) -> String {
        fs::read_to_string(self.path("runs")).unwrap_or_default()
    }
}

fn written(node: &Node) -> String {
    fs::read_to_string(node.dir.path().join("state/offered.json")).unwrap_or_default()
}

/// A pod that has `n` devices, and that Chandler knows of.
fn pod(node: &Node, kubelet: &mut Kubelet, n: usize) -> String {
    kubelet.allocate(ACC, n).unwrap();
    let uid = format!("pod-{}", kubelet.pods());
    let entry = format!("\"pod\":\"{uid}\"");
    until(|| written(node).contains(&entry), || node.log());
    uid
}

fn refusal(kubelet: &Kubelet, id: &str) -> String {
    kubelet.allocate_ids(ACC, &[id]).err().unwrap_or_default()
}

fn uncordon(state: &Path, id: &str) {
    let mut uncordon = chandler();
    uncordon.arg("uncordon").arg(id).arg("--state-dir").arg(state);
    let output = uncordon.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_device_that_a_pod_gives_back_is_cleaned_and_then_offered_again() {
    let hook = Hook::new();
    let (mut node, mut kubelet) = node(ONE_CARD, &hook.rest());
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    assert_eq!(hook.runs(), "");
    kubelet.shared.remove_pod(&uid);
    kubelet.expect_devices(ACC, "acc0 Unhealthy");
    until(|| hook.runs() == "acc0\n", || node.log());
    let why = "device acc0 of example.com/acc is unhealthy: a pod has given it back, and it is not clean: the command /bin/sh: /bin/sh ended with exit status: 2";
    until(|| refusal(&kubelet, "acc0").contains(why), || refusal(&kubelet, "acc0"));
    assert!(
        node.log().contains(&format!("given back by default/{uid} (main) after ")),
        "{}",
        node.log()
    );
    // It is tried again.
    hook.allow();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    assert_eq!(hook.runs(), "acc0\nacc0\n");
    assert!(node.log().contains("device=acc0 is clean"), "{}", node.log());
    until(|| !written(&node).contains("unclean"), || written(&node));
    // The next pod is no exception.
    let uid = pod(&node, &mut kubelet, 1);
    kubelet.shared.remove_pod(&uid);
    until(|| hook.runs() == "acc0\nacc0\nacc0\n", || node.log());
    kubelet.expect_devices(ACC, "acc0 Healthy");
}

#[test]
fn an_operator_may_say_that_a_device_is_clean() {
    let rest = "release: [{ command: [/no/such/program] }]";
    let (mut node, mut kubelet) = node(ONE_CARD, rest);
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    kubelet.shared.remove_pod(&uid);
    kubelet.expect_devices(ACC, "acc0 Unhealthy");
    let why = "not clean: the command /no/such/program: cannot run /no/such/program: No such file";
    until(|| refusal(&kubelet, "acc0").contains(why), || node.log());
    uncordon(&node.dir.path().join("state"), "acc0");
    kubelet.expect_devices(ACC, "acc0 Healthy");
}

#[test]
fn a_device_whose_cleaning_hangs_holds_up_no_other() {
    let host = format!("{ONE_CARD}//- /sys/class/acc/acc1/status\nonline\n//- /dev/acc1 char\n");
    let rest = "release: [{ command: [/bin/sh, -c, \"test $0 = acc1 || sleep 1000\", \"{id}\"], timeout: 300ms }]";
    let (mut node, mut kubelet) = node(&host, rest);
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy\nacc1 Healthy");
    let uid = pod(&node, &mut kubelet, 2);
    kubelet.shared.remove_pod(&uid);
    kubelet.expect_devices(ACC, "acc0 Unhealthy\nacc1 Healthy");
    let why = "/bin/sh did not end within 300ms";
    until(|| refusal(&kubelet, "acc0").contains(why), || node.log());
    kubelet.allocate_ids(ACC, &["acc1"]).unwrap();
}

#[test]
fn what_is_not_clean_stays_so_over_a_restart_and_is_cleaned_after_it() {
    let hook = Hook::new();
    let (mut node, mut kubelet) = node(ONE_CARD, &hook.rest());
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    kubelet.shared.remove_pod(&uid);
    until(|| written(&node).contains("exit status"), || written(&node));
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone(ACC);
    let n_runs = hook.runs().lines().count();
    node.start();
    kubelet.expect_devices(ACC, "acc0 Unhealthy");
    until(|| hook.runs().lines().count() > n_runs, || node.log());
    hook.allow();
    kubelet.expect_devices(ACC, "acc0 Healthy");
}

#[test]
fn an_operator_may_say_that_a_device_is_clean_while_no_daemon_runs() {
    let hook = Hook::new();
    let (mut node, mut kubelet) = node(ONE_CARD, &hook.rest());
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    kubelet.shared.remove_pod(&uid);
    until(|| written(&node).contains("exit status"), || written(&node));
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone(ACC);
    uncordon(&node.dir.path().join("state"), "acc0");
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
}

#[test]
fn a_device_that_is_given_back_while_no_daemon_runs_is_cleaned_by_the_next() {
    let hook = Hook::new();
    hook.allow();
    let (mut node, mut kubelet) = node(ONE_CARD, &hook.rest());
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    node.signal(Signal::SIGKILL);
    node.wait();
    kubelet.expect_gone(ACC);
    kubelet.shared.remove_pod(&uid);
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    until(|| hook.runs() == "acc0\n", || node.log());
}

#[test]
fn a_shared_device_is_cleaned_when_nobody_holds_a_replica() {
    let hook = Hook::new();
    hook.allow();
    let rest = format!("sharing: {{ replicas: 2 }}\n    {}", hook.rest());
    let (mut node, mut kubelet) = node(ONE_CARD, &rest);
    node.start();
    kubelet.expect_devices(ACC, "acc0::0 Healthy\nacc0::1 Healthy");
    let first = pod(&node, &mut kubelet, 1);
    let second = pod(&node, &mut kubelet, 1);
    kubelet.shared.remove_pod(&first);
    until(|| !written(&node).contains(&first), || written(&node));
    assert_eq!(hook.runs(), "");
    kubelet.shared.remove_pod(&second);
    until(|| hook.runs() == "acc0\n", || node.log());
    kubelet.expect_devices(ACC, "acc0::0 Healthy\nacc0::1 Healthy");
}

#[test]
fn a_kubelet_that_does_not_say_who_holds_what_has_nothing_cleaned() {
    let hook = Hook::new();
    hook.allow();
    let (mut node, mut kubelet) = node(ONE_CARD, &hook.rest());
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy");
    let uid = pod(&node, &mut kubelet, 1);
    kubelet.fault(|it| it.pod_resources = Some((8, "rejected by rate limit".to_owned())));
    kubelet.shared.remove_pod(&uid);
    until(|| node.log().contains("rejected by rate limit"), || node.log());
    assert_eq!(hook.runs(), "");
    kubelet.fault(|it| it.pod_resources = None);
    until(|| hook.runs() == "acc0\n", || node.log());
}

#[test]
fn after_an_allocation_the_kubelet_is_asked_who_has_what_with_and_without_release() {
    for rest in ["", "release: [{ reset: pci }]"] {
        let fixture = crate::fixture::Fixture::new(ONE_CARD);
        let config = config::parse("c.yaml", &config(rest)).unwrap();
        let scan = chandler::discovery::scan(&fixture.host, &config);
        let resource = scan.found[0].resource.clone();
        let ids = scan.found[0].findings.devices.iter().map(|it| it.id.clone()).collect();
        let (mut inventory, now) =
            (Inventory::new(config.resources, SCAN_INTERVAL, 0), Instant::now());
        inventory.apply(Event::Scanned(scan), now);
        inventory.apply(Event::Plugin(resource, PluginEvent::Allocated(ids)), now);
        let effects = inventory.apply(Event::Tick, now + Duration::from_secs(1));
        assert!(effects.contains(&Effect::AskPods), "{effects:?}");
    }
}
