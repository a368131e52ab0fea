//! What is known of a device without looking at the host again: the one place that says what a key
//! means for it. Pure.

use crate::{
    decide::natural,
    model::{
        device::{Device, HostPath},
        template::{Core, Key},
    },
};

/// A device, with what else a template may name.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The device.
    pub device: &'a Device,
    /// Which replica of it.
    pub replica: Option<u32>,
    /// Where it is in a container.
    pub container: Option<InContainer<'a>>,
}

/// Where a device is in a container.
#[derive(Debug, Clone, Copy)]
pub struct InContainer<'a> {
    /// Its position among the container's devices, from 0.
    pub index: usize,
    /// The ids of all devices in the container.
    pub ids: &'a [String],
    /// Where the device's nodes are in the container, in their order.
    pub paths: &'a [String],
}

/// Which end of a link a node is named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host: links resolved.
    Host,
    /// The container: as it was asked for.
    Container,
}

impl Side {
    /// The path as this side names it.
    pub fn path(self, of: &HostPath) -> String {
        match self {
            Side::Host => of.path.clone(),
            Side::Container => of.asked.clone(),
        }
    }
}

impl<'a> Known<'a> {
    /// A device for itself.
    pub fn of(device: &'a Device) -> Known<'a> {
        Known { device, replica: None, container: None }
    }

    /// The values of `key`. Empty if it has none here.
    pub fn values(&self, key: &Key) -> Vec<String> {
        let device = self.device;
        match key {
            Key::Core(Core::Id) => vec![device.id.to_string()],
            Key::Core(Core::Name) => vec![device.name.clone()],
            Key::Core(Core::Number) => natural::last_number(&device.name).into_iter().collect(),
            Key::Core(Core::Node) => self.nodes(Side::Host).into_iter().take(1).collect(),
            Key::Core(Core::Nodes) => self.nodes(Side::Host),
            Key::Core(Core::NumaNode) => device.numa_node.iter().map(u32::to_string).collect(),
            Key::Core(Core::Replica) => self.replica.iter().map(u32::to_string).collect(),
            Key::Core(Core::Index) => {
                self.container.iter().map(|it| it.index.to_string()).collect()
            }
            // It belongs to a node, and so to `values_by_node`.
            Key::Core(Core::NodeIndex) => Vec::new(),
            // These are known when the container's nodes are.
            Key::Core(Core::ContainerPath) => self.container_paths().take(1).collect(),
            Key::Core(Core::ContainerPaths) => self.container_paths().collect(),
            Key::Core(Core::Ids) => self.container.map(|it| it.ids.to_vec()).unwrap_or_default(),
            Key::Core(Core::Driver | Core::Subsystem)
            | Key::Fact(_)
            | Key::Attribute(_)
            | Key::Relative(..) => {
                device.attributes.get(&key.to_string()).cloned().unwrap_or_default()
            }
        }
    }

    /// The same where one text is made for each node: `{node}` is all of them.
    pub fn values_by_node(&self, key: &Key, side: Side) -> Vec<String> {
        match key {
            Key::Core(Core::Node | Core::Nodes) => self.nodes(side),
            Key::Core(Core::NodeIndex) => {
                (0..self.device.nodes.len()).map(|it| it.to_string()).collect()
            }
            // All ids belong together: they never make a text each.
            Key::Core(Core::Ids) => vec![self.values(key).join(",")],
            Key::Core(_) | Key::Fact(_) | Key::Attribute(_) | Key::Relative(..) => self.values(key),
        }
    }

    fn container_paths(&self) -> impl Iterator<Item = String> {
        self.container.into_iter().flat_map(|it| it.paths.iter().cloned())
    }

    fn nodes(&self, side: Side) -> Vec<String> {
        self.device.nodes.iter().map(|it| side.path(&it.host)).collect()
    }
}
