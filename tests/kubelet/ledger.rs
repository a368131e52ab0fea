//! Everything a kubelet knows of plugins, devices and pods, and what it decides. Pure.
//!
//! A call to a plugin in the middle of a decision is returned as a [`Step`]; whoever carries it out
//! comes back with the answer. Iteration order, which Go leaves to chance, is decided by a seed.

mod admission;
pub mod capacity;
mod checkpoint;
mod predicate;
mod registration;
mod start;
#[cfg(test)]
mod tests;
mod topology;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use chandler::kubelet::proto::deviceplugin::{
    AllocateResponse, ContainerAllocateResponse, DevicePluginOptions,
};
use serde::Serialize;

use super::{dice::Dice, options::Release};

pub use self::{
    admission::Allocation,
    predicate::Rejection,
    registration::validate,
    start::{ContainerOptions, pre_start_failed},
    topology::{Hint, Mask, Misfit, Policy, Scope, Topology},
};

pub const HEALTHY: &str = "Healthy";

/// One successful or attempted registration, and the connection that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A device as the plugin last described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    pub id: String,
    /// As sent: anything but `Healthy` counts as unhealthy.
    pub health: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numa_nodes: Vec<i64>,
}

/// What GetDevicePluginOptions answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginOptions {
    pub pre_start_required: bool,
    pub prefers: bool,
}

/// One resource in the node's status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantity {
    pub capacity: usize,
    pub allocatable: usize,
    /// The plugin is gone for good: an explicit zero.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// In the order of their start: init containers and sidecars, then the others.
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub kind: ContainerKind,
    pub limits: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// Runs to its end before the next one starts; its devices are handed on.
    Init,
    /// An init container that keeps running, and so keeps its devices.
    Sidecar,
    App,
}

/// What a container holds of one resource, for as long as its pod is active.
#[derive(Debug, Clone)]
pub struct Record {
    /// Device ids by NUMA node; -1 for those without one. An id may be under several.
    pub by_node: BTreeMap<i64, Vec<String>>,
    pub response: ContainerAllocateResponse,
}

/// Where Allocate and the other calls go.
#[derive(Debug, Clone)]
struct Endpoint {
    resource: String,
    path: PathBuf,
    /// None for a resource that is known only from the checkpoint.
    options: Option<PluginOptions>,
    stopped_at: Option<Instant>,
}

/// A call that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Prefer { client: ClientId, available: Vec<String>, must_include: Vec<String>, size: usize },
    Allocate { client: ClientId, ids: Vec<String> },
    PreStart { client: ClientId, ids: Vec<String> },
}

/// What the plugin said to a [`Call`]; errors are texts as Go's gRPC writes them.
#[derive(Debug, Clone)]
pub enum Reply {
    /// There was no call.
    Nothing,
    /// None when the answer held no container.
    Prefer(Result<Option<Vec<String>>, String>),
    Allocate(Result<AllocateResponse, String>),
    PreStart(Result<(), String>),
}

/// What to do next so that a decision can go on.
#[derive(Debug)]
pub enum Step {
    Call(Call),
    WriteCheckpoint,
    Done(Result<(), String>),
    /// A real kubelet dies here.
    Crash(String),
}

type Ids = BTreeSet<String>;
type ByResource<T> = BTreeMap<String, T>;

#[derive(Debug)]
pub struct Ledger {
    release: Release,
    grace: Duration,
    dice: Dice,
    next_client: u64,
    /// Those that a stream's end can disconnect. Legacy releases keep one for each resource.
    clients: ByResource<Vec<ClientId>>,
    paths: BTreeMap<ClientId, PathBuf>,
    endpoints: BTreeMap<ClientId, Endpoint>,
    /// The endpoint that calls go to.
    primary: ByResource<ClientId>,
    /// Takeover releases: all connected endpoints by path.
    connected: ByResource<BTreeMap<PathBuf, ClientId>>,
    devices: ByResource<BTreeMap<String, Device>>,
    healthy: ByResource<Ids>,
    unhealthy: ByResource<Ids>,
    allocated: ByResource<Ids>,
    /// By pod, container and resource.
    records: BTreeMap<String, BTreeMap<String, ByResource<Record>>>,
    /// Devices of finished init containers, by pod; only the pod admitted last has any.
    reusable: BTreeMap<String, ByResource<Ids>>,
    /// The active pods.
    pods: BTreeMap<String, Pod>,
    /// Whether every source of pods has been heard since the start.
    sources_ready: bool,
    /// Pod and container of all that ran when the kubelet started.
    ran_at_start: BTreeSet<(String, String)>,
    started_at: Instant,
    /// By pod and container; None for anywhere.
    affinity: BTreeMap<(String, String), Option<Mask>>,
}

impl Ledger {
    pub fn new(release: Release, grace: Duration, seed: u64, now: Instant) -> Ledger {
        Ledger {
            release,
            grace,
            dice: Dice::new(seed),
            next_client: 1,
            clients: BTreeMap::new(),
            paths: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            primary: BTreeMap::new(),
            connected: BTreeMap::new(),
            devices: BTreeMap::new(),
            healthy: BTreeMap::new(),
            unhealthy: BTreeMap::new(),
            allocated: BTreeMap::new(),
            records: BTreeMap::new(),
            reusable: BTreeMap::new(),
            pods: BTreeMap::new(),
            sources_ready: true,
            ran_at_start: BTreeSet::new(),
            started_at: now,
            affinity: BTreeMap::new(),
        }
    }

    /// The devices of a resource as last listed, by id.
    pub fn devices(&self, resource: &str) -> Vec<Device> {
        self.devices.get(resource).into_iter().flat_map(|it| it.values().cloned()).collect()
    }

    pub fn resources(&self) -> Vec<String> {
        self.devices.keys().cloned().collect()
    }

    /// Whether the plugin has sent a list since it was first heard of or the kubelet started.
    pub fn is_listed(&self, resource: &str) -> bool {
        self.devices.contains_key(resource)
    }

    pub fn is_usable(&self, resource: &str, id: &str) -> bool {
        self.healthy.get(resource).is_some_and(|it| it.contains(id))
    }

    pub fn is_allocated(&self, resource: &str, id: &str) -> bool {
        self.allocated.get(resource).is_some_and(|it| it.contains(id))
    }

    /// What a container holds of each resource.
    pub fn records_of(&self, pod: &str, container: &str) -> Option<&BTreeMap<String, Record>> {
        self.records.get(pod)?.get(container)
    }

    fn recorded(&self, pod: &str, container: &str, resource: &str) -> Option<Ids> {
        Some(self.records_of(pod, container)?.get(resource)?.ids())
    }

    /// Makes a pod active, as one that was bound to this node.
    pub fn add_pod(&mut self, pod: Pod) {
        self.pods.insert(pod.uid.clone(), pod);
    }

    /// Makes a pod inactive. Its devices become free when the next pod is admitted.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Pod> {
        self.pods.remove(uid)
    }

    pub fn pod(&self, uid: &str) -> Option<&Pod> {
        self.pods.get(uid)
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// Forgets what inactive pods hold.
    pub fn free_inactive(&mut self) {
        if !self.sources_ready {
            return;
        }
        let before = self.records.len();
        self.records.retain(|uid, _| self.pods.contains_key(uid));
        if self.records.len() < before {
            self.rebuild_allocated();
        }
    }

    /// Counts as allocated what is on record, and nothing else.
    fn rebuild_allocated(&mut self) {
        let mut allocated: ByResource<Ids> = BTreeMap::new();
        for records in self.records.values().flat_map(BTreeMap::values) {
            for (resource, record) in records {
                allocated.entry(resource.clone()).or_default().extend(record.ids());
            }
        }
        self.allocated = allocated;
    }

    /// The pods of the process before: a kubelet hears of them again from its sources.
    ///
    /// Until [`Ledger::sources_are_ready`] nothing is freed, and what ran when the kubelet started
    /// is let pass.
    pub fn inherit_pods(&mut self, before: &mut Ledger, running: BTreeSet<(String, String)>) {
        self.pods = std::mem::take(&mut before.pods);
        self.sources_ready = self.pods.is_empty();
        self.ran_at_start = running;
    }

    /// Every pod of the process before has been admitted again or refused.
    pub fn sources_are_ready(&mut self) {
        self.sources_ready = true;
    }

    fn is_plugin_resource(&self, resource: &str) -> bool {
        self.healthy.contains_key(resource) || self.allocated.contains_key(resource)
    }
}

impl Pod {
    /// As the commands and people name it.
    pub fn full_name(&self) -> String {
        format!("{}/{}/{}", self.uid, self.namespace, self.name)
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|it| it.name == name)
    }

    /// Whether a container, once started, runs until its pod ends.
    pub fn keeps_running(&self, container: &str) -> bool {
        self.container(container).is_some_and(|it| it.kind != ContainerKind::Init)
    }
}

impl From<&DevicePluginOptions> for PluginOptions {
    fn from(options: &DevicePluginOptions) -> PluginOptions {
        PluginOptions {
            pre_start_required: options.pre_start_required,
            prefers: options.get_preferred_allocation_available,
        }
    }
}

impl Call {
    pub fn client(&self) -> ClientId {
        match self {
            Call::Prefer { client, .. }
            | Call::Allocate { client, .. }
            | Call::PreStart { client, .. } => *client,
        }
    }
}

impl Record {
    pub fn ids(&self) -> Ids {
        self.by_node.values().flatten().cloned().collect()
    }
}

impl Record {
    /// The NUMA nodes that a device was allocated with.
    pub fn nodes_of(&self, id: &str) -> Vec<i64> {
        let of = |(node, ids): (&i64, &Vec<String>)| ids.iter().any(|it| it == id).then_some(*node);
        self.by_node.iter().filter_map(of).filter(|it| *it != admission::NO_NODE).collect()
    }
}

impl Device {
    pub fn is_healthy(&self) -> bool {
        self.health == HEALTHY
    }
}
