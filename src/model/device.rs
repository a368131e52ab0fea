//! A device, as a scan found it.

use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

use crate::model::{allocation::Allocation, name::DeviceId};

/// One schedulable piece of hardware. A fact of one scan: there is no health in it.
///
/// What is known of it is reached as if it were its own: `device.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Stays with the hardware for as long as somebody may hold it.
    pub id: DeviceId,
    /// What the id was made of: attributes, facts or core words, joined by `@`.
    pub id_from: Arc<str>,
    /// What is known of it.
    pub description: Arc<Description>,
}

/// What a scan knows of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kernel's name.
    pub name: String,
    /// Its device nodes, in the order the container receives them.
    pub nodes: Vec<Node>,
    /// What is handed over whole.
    pub paths: Vec<HostPath>,
    /// `None` when the kernel does not say (`numa_node` is -1).
    pub numa_node: Option<u32>,
    /// The processor package that this NUMA node is in; `None` when the kernel does not say.
    pub package: Option<u32>,
    /// Whatever the configuration names, by key.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// What it brings into a container.
    pub allocation: Arc<Allocation>,
    /// Its fully qualified name as a CDI device, if a spec that is not ours has it: the container runtime
    /// then gives the container what that says.
    pub cdi_device: Option<String>,
    /// What it is made of: one thing, or those of a group.
    pub members: Vec<Member>,
    /// Which piece of hardware it is.
    pub hardware: Arc<Hardware>,
    /// It is offered when its members and nodes have been the same for so long.
    pub settle: Duration,
    /// How many times it is offered, at least once.
    pub replicas: u32,
    /// What a pod makes of it.
    pub tenancy: Tenancy,
}

/// Whether a pod holds a device, as far as the scan was told, and what that has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tenancy {
    /// Nobody holds it.
    #[default]
    Free,
    /// A pod holds it, and it is what the resource asks for.
    Held,
    /// A pod holds it, and uses it in a way that the resource would not offer it in: a phrase, without a full stop.
    Used(String),
}

impl Default for Description {
    /// Nothing is known, and the device is not shared.
    fn default() -> Description {
        Description {
            name: String::new(),
            nodes: Vec::new(),
            paths: Vec::new(),
            numa_node: None,
            package: None,
            attributes: BTreeMap::new(),
            allocation: Arc::default(),
            members: Vec::new(),
            hardware: Arc::default(),
            settle: Duration::ZERO,
            cdi_device: None,
            replicas: 1,
            tenancy: Tenancy::Free,
        }
    }
}

/// What tells one piece of hardware from another, across reboots.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hardware {
    /// Its serial number, or what stands for it. Not always unique.
    pub serial: Option<String>,
    /// Where it is: a PCI address, the controller and ports of USB, …
    pub place: String,
    /// Which part it is of what has this serial number: a USB interface, a partition.
    pub part: Option<String>,
}

impl Hardware {
    /// Whether it is the same piece, perhaps at another place: its serial number tells, if it has one.
    pub fn is_same_piece(&self, other: &Hardware) -> bool {
        match self.serial {
            Some(_) => (&self.serial, &self.part) == (&other.serial, &other.part),
            None => self == other,
        }
    }
}

/// A device node on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is on the host, links resolved.
    pub host: HostPath,
    /// Its device number; a stand-in below another root has none.
    pub number: Option<DeviceNumber>,
    /// Whether it belongs to this device.
    pub ownership: Ownership,
}

/// A path on the host, and the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPath {
    /// Links resolved.
    pub path: String,
    /// As the configuration names it, which may be a link: where a container expects it.
    pub asked: String,
}

impl HostPath {
    /// A path that is no link.
    pub fn plain(path: impl Into<String>) -> HostPath {
        let path = path.into();
        HostPath { asked: path.clone(), path }
    }
}

/// A device number: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceNumber {
    /// Of a character device.
    Char(u64, u64),
    /// Of a block device.
    Block(u64, u64),
}

impl DeviceNumber {
    /// Major and minor.
    pub fn parts(self) -> (u64, u64) {
        match self {
            DeviceNumber::Char(major, minor) | DeviceNumber::Block(major, minor) => (major, minor),
        }
    }
}

/// Whether a node belongs to the device that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It comes from the device itself: no other device may be offered with it.
    Own,
    /// The configuration names it for every device, `/dev/nvidiactl` say.
    Common,
}

/// One thing that the kernel knows, of those that make a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// The kernel's name.
    pub name: String,
    /// Its directory in sysfs, without links; a plain file or an unknown node has none.
    pub dir: Option<String>,
    /// That of the PCI function that it is, or is a part of, where its own lies elsewhere: of a partition of a GPU.
    pub card: Option<String>,
}

impl Member {
    /// The directory that says where in the machine it is.
    pub fn place(&self) -> Option<&str> {
        self.card.as_deref().or(self.dir.as_deref())
    }
}

impl Device {
    /// A device with a given id.
    pub fn new(id: DeviceId, description: Description) -> Device {
        Device { id, id_from: Arc::from("id"), description: Arc::new(description) }
    }

    /// A device of which nothing is known but its id.
    pub fn bare(id: DeviceId) -> Device {
        let description = Description { name: id.to_string(), ..Description::default() };
        Device::new(id, description)
    }

    /// Where its nodes are on the host.
    pub fn node_paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|it| it.host.path.as_str())
    }
}

impl Deref for Device {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.description
    }
}

impl Description {
    /// How many members and nodes it has.
    pub fn n_parts(&self) -> usize {
        self.members.len() + self.nodes.len()
    }

    /// Where its members are in sysfs.
    pub fn dirs(&self) -> Vec<String> {
        self.members.iter().filter_map(|it| it.dir.clone()).collect()
    }

    /// Whether it is made of the same members and nodes.
    pub fn has_parts_of(&self, other: &Description) -> bool {
        self.members == other.members && self.nodes == other.nodes
    }
}

/// Everything that one scan found for one resource. A complete answer, not a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the natural order of their names.
    pub devices: Vec<Device>,
    /// What was there but cannot be offered, and why. Shown, never fatal.
    pub problems: Vec<Problem>,
    /// Why there is no device, where there is none: a phrase for each way to find one.
    pub none_because: Vec<String>,
}

/// Something a scan had to leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The sysfs path, device node or glob it happened at.
    pub at: String,
    /// A phrase, without a full stop.
    pub what: String,
}
