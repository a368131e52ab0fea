//! What is known of a device without looking at the host again. Pure.

use crate::{
    decide::natural,
    model::{
        device::Device,
        template::{Core, Key},
    },
};

/// The values of `key` that were read when the device was found. Empty if it has none.
pub fn values(device: &Device, key: &Key) -> Vec<String> {
    match key {
        Key::Core(Core::Id) => vec![device.id.to_string()],
        Key::Core(Core::Name) => vec![device.name.clone()],
        Key::Core(Core::Number) => natural::last_number(&device.name).into_iter().collect(),
        Key::Core(Core::Node) => device.nodes.iter().take(1).cloned().collect(),
        Key::Core(Core::Nodes) => device.nodes.clone(),
        Key::Core(Core::NumaNode) => device.numa_node.iter().map(u32::to_string).collect(),
        // These belong to a container.
        Key::Core(Core::Ids | Core::Index | Core::Replica) => Vec::new(),
        Key::Core(Core::Driver | Core::Subsystem)
        | Key::Fact(_)
        | Key::Attribute(_)
        | Key::Ancestor(_) => device.attributes.get(&key.to_string()).cloned().unwrap_or_default(),
    }
}
