//! What kind of kubelet is simulated.

use std::{path::PathBuf, time::Duration};

use super::ledger::{Policy, Scope, Topology};

/// A minor release of Kubernetes 1: `Release(34)` is 1.34. It decides every difference in behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32);

impl Release {
    /// The release that stands for 1.26–1.36: one client slot for each resource.
    pub const LEGACY: Release = Release(34);
    /// The first release in which a second plugin may take a resource over.
    pub const TAKEOVER: Release = Release(37);

    /// Clients are kept by resource and socket path, and a path may be connected only once.
    pub fn keeps_clients_by_path(self) -> bool {
        self >= Release::TAKEOVER
    }

    /// The kubelet dies when a device is no longer listed where its topology is read.
    pub fn crashes_on_vanished_devices(self) -> bool {
        self >= Release(34)
    }

    /// The deadline of a Register call also bounds what the kubelet does within it.
    pub fn bounds_dial_by_register(self) -> bool {
        self >= Release(35)
    }

    /// Topology hints combine only the NUMA nodes that have devices.
    pub fn combines_only_device_nodes(self) -> bool {
        self >= Release(36)
    }

    /// Init containers may keep running beside the others.
    pub fn knows_sidecars(self) -> bool {
        self >= Release(28)
    }

    /// PodResources answers Get.
    pub fn answers_get(self) -> bool {
        self >= Release(34)
    }

    /// PodResources lists no pods that are over.
    pub fn lists_active_pods(self) -> bool {
        self >= Release(34)
    }

    /// How an AllocateResponse without containers is printed in a pod's status.
    pub fn empty_allocation_text(self) -> &'static str {
        match self >= Release(34) {
            true => "",
            false => "&AllocateResponse{ContainerResponses:[]*ContainerAllocateResponse{},}",
        }
    }

    /// `cdi_devices` reach the container runtime.
    pub fn passes_cdi(self) -> bool {
        self >= Release(29)
    }
}

/// How long a kubelet waits for what. Tests shorten what they would have to sit through.
#[derive(Debug, Clone)]
pub struct Times {
    /// For a plugin's socket to answer during Register.
    pub dial: Duration,
    /// From the end of a stream until the resource is forgotten.
    pub grace: Duration,
    /// Between two computations of the node's status.
    pub status: Duration,
    /// For PreStartContainer.
    pub pre_start: Duration,
    /// After which a kubelet that was started again admits the pods it had.
    pub readmit: Duration,
    /// During which kubelet.sock is bound but refuses, after its creation.
    pub before_listen: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            dial: Duration::from_secs(10),
            grace: Duration::from_secs(300),
            // A kubelet takes ten seconds, which a test would only sit through.
            status: Duration::from_millis(10),
            pre_start: Duration::from_secs(30),
            // As a whole kubelet was seen to take with pods from files.
            readmit: Duration::from_millis(80),
            before_listen: Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    pub release: Release,
    pub times: Times,
    /// Decides every choice that a kubelet leaves to chance.
    pub seed: u64,
    pub topology: Topology,
    /// Where to serve the PodResources API, if at all.
    pub pod_resources: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            release: Release::LEGACY,
            times: Times::default(),
            seed: 1,
            topology: Topology { policy: Policy::None, scope: Scope::Container, nodes: 1 },
            pod_resources: None,
        }
    }
}

impl Times {
    /// Everything that takes a kubelet seconds or minutes, that many times faster.
    pub fn scaled(factor: u32) -> Times {
        let real = Times { status: Duration::from_secs(10), ..Times::default() };
        Times {
            dial: real.dial / factor,
            grace: real.grace / factor,
            status: real.status / factor,
            pre_start: real.pre_start / factor,
            ..real
        }
    }
}

impl Options {
    pub fn release(minor: u32) -> Options {
        Options { release: Release(minor), ..Options::default() }
    }
}
