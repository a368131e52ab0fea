//! A device, as a scan found it.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{allocation::Allocation, name::DeviceId};

/// One schedulable piece of hardware. A fact of one scan: there is no health in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Stable across reboots wherever the bus allows it.
    pub id: DeviceId,
    /// The kernel's name.
    pub name: String,
    /// Paths on the host, in the order the container receives them.
    pub nodes: Vec<String>,
    /// Paths on the host that are handed over whole.
    pub paths: Vec<String>,
    /// `None` when the kernel does not say (`numa_node` is -1).
    pub numa_node: Option<u32>,
    /// Whatever the configuration names, by key.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// What it brings into a container.
    pub allocation: Arc<Allocation>,
    /// Where it is on the host, for probes.
    pub hardware: Arc<Hardware>,
}

impl Device {
    /// A device of which nothing is known but its id.
    pub fn bare(id: DeviceId) -> Device {
        Device {
            name: id.to_string(),
            id,
            nodes: Vec::new(),
            paths: Vec::new(),
            numa_node: None,
            attributes: BTreeMap::new(),
            allocation: Arc::default(),
            hardware: Arc::default(),
        }
    }
}

/// Where a device is on the host. Nobody is shown this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    /// What it is made of: one thing, or those of a group.
    pub members: Vec<Member>,
    /// The device numbers of its nodes, in their order; a stand-in below another root has none.
    pub numbers: Vec<Option<(u64, u64)>>,
}

/// One thing that the kernel knows, of those that make a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The kernel's name.
    pub name: String,
    /// Its directory in sysfs, without links; a plain file or an unknown node has none.
    pub dir: Option<String>,
}

/// Everything found for one resource in one pass. A complete answer, not a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the natural order of their names.
    pub devices: Vec<Device>,
    /// What was there but cannot be offered, and why. Shown, never fatal.
    pub problems: Vec<Problem>,
}

/// Something a scan had to leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The sysfs path, device node or glob it happened at.
    pub at: String,
    /// A phrase, without a full stop.
    pub what: String,
}
