//! What Prometheus is told, in its text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Labels join with what others have: `resource_name` is that of the kubelet's own metrics, `resource` that of
//! kube-state-metrics, `pci_bus_id` that of DCGM.

mod family;

use std::fmt::{self, Write};

use crate::{
    model::status::{
        DeviceStatus, LATENCY_BOUNDS_US, Latencies, ResourceCounts, ResourceStatus, Status,
    },
    operate::status::metrics::family::{Family, Seconds, sanitised},
};

/// How many devices are told of one by one, and how many pods: a label costs those who keep it.
const SERIES_MAX: usize = 2048;

/// A metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// A sentence.
    pub(super) help: &'static str,
    tell: fn(&Status, &mut Family<'_>),
}

/// What its values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Whether the metrics say which pods hold what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holders {
    Told,
    Untold,
}

/// The one metric that is told only where somebody wants it.
const HELD_BY: &str = "chandler_device_held_by";

const RESOURCE: [&str; 2] = ["resource_name", "resource"];

/// All of them.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "chandler_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Which program runs; always 1.",
        tell: |status, family| family.sample(&[&status.version], 1),
    },
    Metric {
        name: "chandler_ready",
        kind: Kind::Gauge,
        labels: &[],
        help: "Whether everything that the first scan found is served.",
        tell: |status, family| family.sample(&[], u64::from(status.is_ready)),
    },
    Metric {
        name: "chandler_kubelet_present",
        kind: Kind::Gauge,
        labels: &[],
        help: "Whether the kubelet's socket is there.",
        tell: |status, family| family.sample(&[], u64::from(status.kubelet.since.is_some())),
    },
    Metric {
        name: "chandler_kubelet_info",
        kind: Kind::Gauge,
        labels: &["client"],
        help: "Always 1: the gRPC library that the kubelet calls with, which tells its release roughly.",
        tell: |status, family| {
            status.kubelet.client.iter().for_each(|it| family.sample(&[it], 1));
        },
    },
    Metric {
        name: "chandler_registered",
        kind: Kind::Gauge,
        labels: &RESOURCE,
        help: "Whether the kubelet listens to the resource.",
        tell: |status, family| each(status, family, |it| u64::from(it.is_serving)),
    },
    Metric {
        name: "chandler_capacity",
        kind: Kind::Gauge,
        labels: &RESOURCE,
        help: "How many devices, or replicas of them, the kubelet was told of.",
        tell: |status, family| each(status, family, |it| count(it.capacity)),
    },
    Metric {
        name: "chandler_allocatable",
        kind: Kind::Gauge,
        labels: &RESOURCE,
        help: "How many of them may be allocated.",
        tell: |status, family| each(status, family, |it| count(it.allocatable)),
    },
    Metric {
        name: "chandler_held",
        kind: Kind::Gauge,
        labels: &RESOURCE,
        help: "How many of them pods hold, as far as the kubelet has said.",
        tell: |status, family| each(status, family, |it| count(it.held)),
    },
    Metric {
        name: "chandler_devices",
        kind: Kind::Gauge,
        labels: &["resource_name", "resource", "health", "severity"],
        help: "How many devices there are in each state.",
        tell: devices,
    },
    Metric {
        name: "chandler_device_healthy",
        kind: Kind::Gauge,
        labels: &["resource_name", "resource", "device", "pci_bus_id"],
        help: "Whether the device may be allocated. Of the first 2048 devices.",
        tell: |status, family| {
            for (resource, device) in all_devices(status).take(SERIES_MAX) {
                let healthy = u64::from(device.health != "Unhealthy");
                let pci = device.pci_path.last().map_or("", String::as_str);
                family.of(resource, &[&device.id, pci], healthy);
            }
        },
    },
    Metric {
        name: "chandler_pcie_aer_errors_total",
        kind: Kind::Counter,
        labels: &["resource_name", "resource", "device", "pci_bus_id", "severity"],
        help: "Errors of PCI Express that the device's own functions have counted. Of the first 2048 devices.",
        tell: |status, family| {
            for (resource, device) in all_devices(status).take(SERIES_MAX) {
                let pci = device.pci_path.last().map_or("", String::as_str);
                let Some(errors) = device.pcie_errors else { continue };
                family.of(resource, &[&device.id, pci, "correctable"], errors.correctable);
                family.of(resource, &[&device.id, pci, "nonfatal"], errors.nonfatal);
                family.of(resource, &[&device.id, pci, "fatal"], errors.fatal);
            }
        },
    },
    Metric {
        name: HELD_BY,
        kind: Kind::Gauge,
        labels: &["resource_name", "resource", "device", "namespace", "pod", "container"],
        help: "Always 1: the container holds the device. Of the first 2048, and only with `holders: true`.",
        tell: held_by,
    },
    Metric {
        name: "chandler_health_transitions_total",
        kind: Kind::Counter,
        labels: &["resource_name", "resource", "to", "reason"],
        help: "How often a device has turned healthy, degraded or unhealthy, by the class of the reason.",
        tell: |status, family| {
            for it in &status.resources {
                for (change, n) in &it.counts.transitions {
                    let (to, reason) = change.split_once('/').unwrap_or((change, ""));
                    family.of(it, &[to, reason], *n);
                }
            }
        },
    },
    Metric {
        name: "chandler_probes_total",
        kind: Kind::Counter,
        labels: &["resource_name", "resource", "result"],
        help: "Probes of devices, by what they found: good, bad or timeout.",
        tell: |status, family| {
            for it in &status.resources {
                let ResourceCounts { probes, bad_probes, timeouts, .. } = it.counts;
                family.of(it, &["good"], probes.saturating_sub(bad_probes));
                family.of(it, &["bad"], bad_probes.saturating_sub(timeouts));
                family.of(it, &["timeout"], timeouts);
            }
        },
    },
    Metric {
        name: "chandler_registrations_total",
        kind: Kind::Counter,
        labels: &["resource_name", "resource", "result"],
        help: "Registrations with the kubelet, by its answer: ok or refused.",
        tell: |status, family| {
            for it in &status.resources {
                let ResourceCounts { registrations, refused, .. } = it.counts;
                family.of(it, &["ok"], registrations.saturating_sub(refused));
                family.of(it, &["refused"], refused);
            }
        },
    },
    Metric {
        name: "chandler_registration_duration_seconds",
        kind: Kind::Histogram,
        labels: &RESOURCE,
        help: "How long registering took, from the decision to the kubelet's answer.",
        tell: |status, family| histograms(status, family, |it| &it.registering),
    },
    Metric {
        name: "chandler_streams_dropped_total",
        kind: Kind::Counter,
        labels: &RESOURCE,
        help: "Streams of devices that the kubelet, or its end, has ended.",
        tell: |status, family| each(status, family, |it| it.counts.dropped),
    },
    Metric {
        name: "chandler_allocations_total",
        kind: Kind::Counter,
        labels: &["resource_name", "resource", "result"],
        help: "How often the kubelet has asked for devices, by our answer: ok or refused.",
        tell: |status, family| {
            for it in &status.resources {
                let refused = it.counts.allocations_refused;
                family.of(it, &["ok"], it.counts.allocating.count().saturating_sub(refused));
                family.of(it, &["refused"], refused);
            }
        },
    },
    Metric {
        name: "chandler_allocation_duration_seconds",
        kind: Kind::Histogram,
        labels: &RESOURCE,
        help: "How long we took to answer when the kubelet asked for devices.",
        tell: |status, family| histograms(status, family, |it| &it.allocating),
    },
    Metric {
        name: "chandler_problems",
        kind: Kind::Gauge,
        labels: &["resource_name"],
        help: "How much was found that cannot be offered; `chandler status` says what and why.",
        tell: problems,
    },
    Metric {
        name: "chandler_cordons",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many devices operators have taken out of use.",
        tell: |status, family| family.sample(&[], count(status.cordons.len())),
    },
    Metric {
        name: "chandler_degraded",
        kind: Kind::Gauge,
        labels: &["source"],
        help: "Always 1: Chandler does without the source; `chandler status` says what follows.",
        tell: |status, family| {
            status.degraded.iter().for_each(|it| family.sample(&[&it.source], 1));
        },
    },
    Metric {
        name: "chandler_scans_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Scans of the host that have ended.",
        tell: |status, family| family.sample(&[], status.counts.scans),
    },
    Metric {
        name: "chandler_blocked_reads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Reads of the host that have not returned in time, and still have not.",
        tell: |status, family| family.sample(&[], status.counts.blocked_reads),
    },
];

/// The metrics of `status`.
pub(super) fn text(status: &Status, holders: Holders) -> String {
    let mut text = String::new();
    for metric in METRICS {
        if metric.name == HELD_BY && holders == Holders::Untold {
            continue;
        }
        let Metric { name, kind, help, tell, .. } = metric;
        // Writing to a text does not fail.
        _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        tell(status, &mut Family::new(metric, &mut text));
    }
    text
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn each(status: &Status, family: &mut Family<'_>, value: impl Fn(&ResourceStatus) -> u64) {
    status.resources.iter().for_each(|it| family.of(it, &[], value(it)));
}

fn all_devices(status: &Status) -> impl Iterator<Item = (&ResourceStatus, &DeviceStatus)> {
    status.resources.iter().flat_map(|it| it.devices.iter().map(move |device| (it, device)))
}

/// Each state is told of though no device is in it, so that a graph of it has no gap.
fn devices(status: &Status, family: &mut Family<'_>) {
    for resource in &status.resources {
        for (health, severity) in [("Healthy", ""), ("Degraded", "degraded"), ("Unhealthy", "ill")]
        {
            let n = resource.devices.iter().filter(|it| it.health == health).count();
            family.of(resource, &[health, severity], count(n));
        }
    }
}

fn held_by(status: &Status, family: &mut Family<'_>) {
    let offers = all_devices(status).flat_map(|(resource, device)| {
        device.offers.iter().filter_map(move |it| Some((resource, &it.id, it.holder.as_ref()?)))
    });
    for (resource, id, it) in offers.take(SERIES_MAX) {
        family.of(resource, &[id, &it.namespace, &it.pod, &it.container], 1);
    }
}

fn problems(status: &Status, family: &mut Family<'_>) {
    let mut names: Vec<&str> = status.resources.iter().map(|it| it.name.as_str()).collect();
    names.extend(status.problems.iter().map(|it| it.resource.as_str()));
    names.sort_unstable();
    names.dedup();
    for name in names {
        let n = status.problems.iter().filter(|it| it.resource == name).count();
        family.sample(&[name], count(n));
    }
}

fn histograms(
    status: &Status,
    family: &mut Family<'_>,
    of: impl Fn(&ResourceCounts) -> &Latencies,
) {
    for it in &status.resources {
        let (latencies, sanitised) = (of(&it.counts), sanitised(&it.name));
        let of_resource = [("resource_name", it.name.as_str()), ("resource", &sanitised)];
        let mut n = 0;
        for (idx, in_bucket) in latencies.counts.iter().enumerate() {
            n += in_bucket;
            let bound = LATENCY_BOUNDS_US.get(idx);
            let bound = bound.map_or("+Inf".to_owned(), |it| Seconds(*it).to_string());
            let [name, resource] = of_resource;
            family.line("_bucket", &[name, resource, ("le", &bound)], &n);
        }
        family.line("_sum", &of_resource, &Seconds(latencies.sum_us));
        family.line("_count", &of_resource, &n);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        })
    }
}

#[cfg(test)]
mod tests;
