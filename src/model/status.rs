//! What the daemon knows, for people and programs that ask: `chandler status`, metrics and the page of the node.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{clock::Moment, health::PcieErrors, state::Holder};

/// What the daemon knows at one moment. It differs from the one before only if something has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Whether everything that the first scan found is served.
    pub is_ready: bool,
    /// The kubelet.
    pub kubelet: KubeletStatus,
    /// In the order of their names.
    pub resources: Vec<ResourceStatus>,
    /// What operators have taken out of use.
    pub cordons: Vec<CordonStatus>,
    /// What was found and cannot be offered.
    pub problems: Vec<ProblemStatus>,
    /// What the daemon does without, and what follows from that.
    pub degraded: Vec<Degraded>,
    /// How often things have happened, whatever the resource.
    pub counts: DaemonCounts,
}

/// The kubelet, as far as we know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletStatus {
    /// Its socket.
    pub socket: String,
    /// When that was made; `None` if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// The gRPC library that it calls us with, as it says: `grpc-go/1.72.1`. Of its release nothing tells more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// A resource that is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceStatus {
    /// What pods ask for.
    pub name: String,
    /// Where its registration stands, in a word or three.
    pub state: String,
    /// Whether the kubelet listens to it.
    pub is_serving: bool,
    /// Since when it does, or does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Why it is not registered, if the kubelet or the host has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How many devices, or replicas of them, the kubelet was told of.
    pub capacity: usize,
    /// How many of them may be allocated.
    pub allocatable: usize,
    /// How many of them pods hold.
    pub held: usize,
    /// In the order of their ids.
    pub devices: Vec<DeviceStatus>,
    /// Why there is no device, where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_because: Vec<String>,
    /// How often things have happened.
    pub counts: ResourceCounts,
}

/// A device that is offered, or that pods may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceStatus {
    /// Of the hardware.
    pub id: String,
    /// `Healthy`, `Degraded` or `Unhealthy`.
    pub health: String,
    /// How ill it is, where that is known: `degraded` or `ill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What mends it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The fault is not real: somebody has injected it.
    #[serde(skip_serializing_if = "is_false")]
    pub is_injected: bool,
    /// Since when it is, or is not, healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Whether the last scan has found it.
    pub is_present: bool,
    /// `None` if the kernel does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// The processor package of the NUMA node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<u32>,
    /// The PCI functions on the way to it, from the root port on; the last is its own, or that of its controller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci_path: Vec<String>,
    /// Errors that its PCI functions have counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_errors: Option<PcieErrors>,
    /// Its nodes on the host.
    pub nodes: Vec<String>,
    /// What the kubelet calls it: one id for each replica.
    pub offers: Vec<OfferStatus>,
}

/// What the kubelet was told of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfferStatus {
    /// What the kubelet calls it.
    pub id: String,
    /// The container that has it, as far as the kubelet has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderStatus>,
}

/// A container that has a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HolderStatus {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Since when, as far as we have heard of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
}

/// A device that an operator has taken out of use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CordonStatus {
    /// The device.
    pub device: String,
    /// The resource, where it is cordoned in one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Why.
    pub reason: String,
}

/// Something that was found and cannot be offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProblemStatus {
    /// The resource, or the template of its name.
    pub resource: String,
    /// Where it is.
    pub at: String,
    /// What is wrong.
    pub what: String,
}

/// Something that the daemon does without.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Degraded {
    /// What: a word for programs.
    pub source: String,
    /// What follows from that.
    pub what: String,
}

/// How often things have happened to a resource since it was first served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceCounts {
    /// Attempts to register that found a kubelet.
    pub registrations: u64,
    /// Those that it has refused.
    pub refused: u64,
    /// Streams that the kubelet, or its death, has ended.
    pub dropped: u64,
    /// Probes of its devices.
    pub probes: u64,
    /// Those that found something wrong.
    pub bad_probes: u64,
    /// Those that did not end in time.
    pub timeouts: u64,
    /// How often a device has turned healthy, by nothing, and otherwise, by the class of the reason.
    pub transitions: BTreeMap<String, u64>,
    /// How long the kubelet took to answer when we registered.
    pub registering: Latencies,
    /// How long we took to answer when the kubelet asked for devices.
    pub allocating: Latencies,
    /// Those of the answers that were refusals.
    pub allocations_refused: u64,
}

/// How often things have happened to the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonCounts {
    /// Scans that have ended.
    pub scans: u64,
    /// Reads of the host that have not returned in time, and still have not.
    pub blocked_reads: u64,
}

/// The upper bounds of the buckets of [`Latencies`], in microseconds; one more is without bound. Answers from memory
/// take some ten microseconds; the kubelet gives up after seconds.
pub const LATENCY_BOUNDS_US: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

/// How long something took, each time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Latencies {
    /// How often it took no longer than each of [`LATENCY_BOUNDS_US`], and longer than the one before; then longer
    /// than all.
    pub counts: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// All together.
    pub sum_us: u64,
}

impl Latencies {
    /// The bucket that `took` belongs to.
    pub fn bucket(took: Duration) -> usize {
        let us = us(took);
        let bounds = &LATENCY_BOUNDS_US;
        bounds.iter().position(|it| us <= *it).unwrap_or(bounds.len())
    }

    /// It took so long once.
    pub fn took(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(Latencies::bucket(took)) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us(took));
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// In microseconds.
pub fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn is_false(it: &bool) -> bool {
    !it
}

impl HolderStatus {
    /// That `holder` has it.
    pub fn new(holder: &Holder, since: Option<Moment>) -> HolderStatus {
        let Holder { namespace, pod, container } = holder.clone();
        HolderStatus { namespace, pod, container, since }
    }
}

impl fmt::Display for HolderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_is_in_the_first_bucket_that_holds_it() {
        let mut latencies = Latencies::default();
        for us in [0, 50, 51, 1_000_000, 1_000_001] {
            latencies.took(Duration::from_micros(us));
        }
        assert_eq!(latencies.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((latencies.count(), latencies.sum_us), (5, 2_000_102));
    }
}
