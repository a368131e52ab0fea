use std::{
    io::Write,
    process::{Command, Stdio},
};

use expect_test::{expect, expect_file};

use super::*;
use crate::model::{
    health::PcieErrors,
    status::{HolderStatus, KubeletStatus, OfferStatus, ProblemStatus},
};

const HOSTILE: &str = "a\"b\\c\nd} 1\n# TYPE x counter";

/// One resource with two devices, one of which calls itself something terrible.
fn status() -> Status {
    let holder = HolderStatus { namespace: "ns".to_owned(), ..HolderStatus::default() };
    let device = |id: &str, health: &str| DeviceStatus {
        id: id.to_owned(),
        health: health.to_owned(),
        pcie_errors: Some(PcieErrors { correctable: 3, nonfatal: 0, fatal: 1 }),
        pci_path: vec!["0000:00:01.0".to_owned(), "0000:01:00.0".to_owned()],
        offers: vec![OfferStatus { id: id.to_owned(), holder: Some(holder.clone()) }],
        ..DeviceStatus::default()
    };
    let mut counts = ResourceCounts { registrations: 3, refused: 1, ..ResourceCounts::default() };
    counts.transitions.insert("Unhealthy/timeout".to_owned(), 2);
    for us in [10, 20, 60_000, 2_000_000] {
        counts.allocating.took(std::time::Duration::from_micros(us));
    }
    let resource = ResourceStatus {
        name: "nvidia.com/gpu-x".to_owned(),
        is_serving: true,
        capacity: 2,
        allocatable: 1,
        held: 2,
        devices: vec![device("well", "Healthy"), device(HOSTILE, "Unhealthy")],
        counts,
        ..ResourceStatus::default()
    };
    let problem = ProblemStatus { resource: HOSTILE.to_owned(), ..ProblemStatus::default() };
    Status {
        version: "1.0".to_owned(),
        kubelet: KubeletStatus { client: Some(HOSTILE.to_owned()), ..KubeletStatus::default() },
        resources: vec![resource],
        problems: vec![problem],
        ..Status::default()
    }
}

#[track_caller]
fn check(name: &str, expected: &expect_test::Expect) {
    let text = text(&status(), Holders::Told);
    let lines = text.lines().filter(|it| it.starts_with(name));
    expected.assert_eq(&lines.map(|it| format!("{it}\n")).collect::<String>());
}

#[test]
fn values_join_with_those_of_others_and_what_hardware_says_is_escaped() {
    check(
        "chandler_device",
        &expect![[r#"
            chandler_devices{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",health="Healthy",severity=""} 1
            chandler_devices{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",health="Degraded",severity="degraded"} 0
            chandler_devices{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",health="Unhealthy",severity="ill"} 1
            chandler_device_healthy{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="well",pci_bus_id="0000:01:00.0"} 1
            chandler_device_healthy{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="a\"b\\c\nd} 1\n# TYPE x counter",pci_bus_id="0000:01:00.0"} 0
            chandler_device_held_by{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="well",namespace="ns",pod="",container=""} 1
            chandler_device_held_by{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="a\"b\\c\nd} 1\n# TYPE x counter",namespace="ns",pod="",container=""} 1
        "#]],
    );
    check(
        "chandler_registrations_total",
        &expect![[r#"
            chandler_registrations_total{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",result="ok"} 2
            chandler_registrations_total{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",result="refused"} 1
        "#]],
    );
}

#[test]
fn errors_of_pci_express_are_told_by_their_severity() {
    check(
        "chandler_pcie_aer_errors_total{resource_name=\"nvidia.com/gpu-x\",resource=\"nvidia_com_gpu_x\",device=\"well\"",
        &expect![[r#"
            chandler_pcie_aer_errors_total{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="well",pci_bus_id="0000:01:00.0",severity="correctable"} 3
            chandler_pcie_aer_errors_total{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="well",pci_bus_id="0000:01:00.0",severity="nonfatal"} 0
            chandler_pcie_aer_errors_total{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",device="well",pci_bus_id="0000:01:00.0",severity="fatal"} 1
        "#]],
    );
}

#[test]
fn the_buckets_of_a_histogram_add_up() {
    check(
        "chandler_allocation_duration",
        &expect![[r#"
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.00005"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.0001"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.00025"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.0005"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.001"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.0025"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.01"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.05"} 2
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="0.25"} 3
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="1"} 3
            chandler_allocation_duration_seconds_bucket{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x",le="+Inf"} 4
            chandler_allocation_duration_seconds_sum{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x"} 2.06003
            chandler_allocation_duration_seconds_count{resource_name="nvidia.com/gpu-x",resource="nvidia_com_gpu_x"} 4
        "#]],
    );
}

#[test]
fn who_holds_what_is_told_only_where_it_is_wanted() {
    assert!(!text(&status(), Holders::Untold).contains(HELD_BY));
    for metric in METRICS {
        let has_samples = text(&status(), Holders::Told).contains(&format!("\n{}", metric.name));
        assert!(has_samples || metric.name == "chandler_degraded", "{}", metric.name);
    }
}

#[test]
fn promtool_has_nothing_to_object_to() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: there is no promtool (Debian's package `prometheus`)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text(&status(), Holders::Told).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_documentation_names_each_metric_as_it_is() {
    let mut doc = String::from(
        "# Metrics

Chandler answers at `/metrics` on its status socket always, and on an address of TCP where the configuration has one:

```yaml
metrics:
  listen: 127.0.0.1:9400     # or 0.0.0.0:9400, [::]:9400: where others can reach it
  holders: true              # also which pods hold which devices; default: false
```

The same address answers at `/status`, `/healthz`, `/readyz` and `/`, the page of the node. Whoever reaches it can read what the node has and
which pods hold it; nobody can change anything by it. A scrape waits for no hardware. While the address is in use or cannot be had the log
says so once, it is tried again each ten seconds, and everything else goes on. A change of `metrics` takes effect at the next start.

Under systemd an address needs the drop-in `systemd/metrics.conf` (in the package `/usr/share/doc/chandler/metrics.conf`), which opens the
network to the unit. In a pod nothing else is needed: `listen: 0.0.0.0:9400`.

Rules for alerts, and a dashboard: [monitoring.md](monitoring.md). The health of each device, as a stream for other agents on the node, and a file for node_exporter: [health-stream.md](health-stream.md).

Without TCP: `curl --unix-socket /run/chandler/status.sock http://localhost/metrics`.

`resource_name` is the name as the kubelet's own metrics have it (`kubelet_device_plugin_alloc_duration_seconds`), `resource` as
kube-state-metrics writes it (`kube_node_status_allocatable`), and `pci_bus_id` is that of DCGM. This table is made from the program's own.

| metric | type | labels | means |
|---|---|---|---|
",
    );
    for Metric { name, kind, labels, help, .. } in METRICS {
        let labels: Vec<String> = labels.iter().map(|it| format!("`{it}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(" ") };
        doc += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
    }
    expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")].assert_eq(&doc);
}
