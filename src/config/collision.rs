//! Entries of `allocation.devices` that give two devices, or two nodes, one path in a container.
//! Only one of them could be there, so what is sure to collide is refused when the file is read.

use crate::{
    config::{
        decode::Item,
        diagnostics::{Position, quoted},
        tree::{Node, Value},
    },
    model::{
        allocation::DeviceTemplate,
        discovery::{Alternative, Glob, GroupBy, Source},
        fact::Form,
        resource::Resource,
        template::{Core, Key, Template},
    },
};

/// Checks the entries of `resource`, which is `item`.
pub(super) fn check(resource: &Resource, item: Item<'_>) {
    // An allocation that several alternatives share is complained about once.
    let mut seen: Vec<Position> = Vec::new();
    for (idx, alternative) in resource.alternatives.iter().enumerate() {
        let nodes = entries_at(item.node, idx);
        let entries = alternative.allocation.devices.as_deref().unwrap_or_default();
        // With entries that could not be understood, nobody knows which is which.
        for (entry, node) in entries.iter().zip(nodes).filter(|_| entries.len() == nodes.len()) {
            let node = node.get("containerPath").unwrap_or(node);
            if let Some((what, help)) = collision(resource, alternative, entry)
                && !seen.contains(&node.position)
            {
                seen.push(node.position);
                item.on(node).refuse_with::<()>(what, help);
            }
        }
    }
}

/// The entries of `devices` for the alternative at `idx`.
fn entries_at(resource: &Node, idx: usize) -> &[Node] {
    let devices = allocation_at(resource, idx).and_then(|it| it.get("devices"));
    match devices.map(|it| &it.value) {
        Some(Value::List(items)) => items,
        Some(Value::Map(_) | Value::Scalar { .. }) | None => &[],
    }
}

/// The allocation for the alternative at `idx`.
pub(super) fn allocation_at(resource: &Node, idx: usize) -> Option<&Node> {
    let discovery = resource.get("discovery");
    let source = discovery.and_then(|it| match &it.value {
        Value::List(items) => items.get(idx),
        Value::Map(_) | Value::Scalar { .. } => Some(it),
    });
    let own = source.and_then(|it| it.get("allocation"));
    own.or(resource.get("allocation"))
}

/// What is wrong with an entry, and what to write.
fn collision(
    resource: &Resource,
    alternative: &Alternative,
    entry: &DeviceTemplate,
) -> Option<(String, String)> {
    let container_path = entry.container_path.as_ref()?;
    let shown = quoted(&container_path.to_string());
    if names(&entry.host_path, tells_devices_apart)
        && !names(container_path, may_tell_devices_apart)
        && !is_for_one_device(resource, container_path)
    {
        let what = format!(
            "containerPath {shown} is the same for each device, so that a container with two of them could have one only"
        );
        let help = format!(
            "write \"{}\", or set `sharing: {{ maxPerContainer: 1 }}`",
            numbered(container_path, "{index}")
        );
        return Some((what, help));
    }
    let is_each_node = |key: &Key| matches!(key, Key::Core(Core::Node | Core::Nodes));
    if n_nodes_min(alternative) > 1
        && names(&entry.host_path, is_each_node)
        && !names(container_path, tells_nodes_apart)
    {
        let what = format!("containerPath {shown} is the same for each node of a device");
        let help = format!("write \"{}\"", numbered(container_path, "{nodeIndex}"));
        return Some((what, help));
    }
    None
}

fn names(template: &Template, wanted: fn(&Key) -> bool) -> bool {
    template.keys().any(wanted)
}

/// Whether two devices have two values of the key as a rule.
fn tells_devices_apart(key: &Key) -> bool {
    match key {
        Key::Core(Core::NumaNode | Core::Driver | Core::Subsystem) => false,
        Key::Core(_) | Key::Fact(_) | Key::Attribute(_) | Key::Relative(..) => {
            may_tell_devices_apart(key)
        }
    }
}

/// Whether two devices can have two values of the key.
fn may_tell_devices_apart(key: &Key) -> bool {
    match key {
        Key::Core(core) => match core {
            Core::Id
            | Core::Name
            | Core::Number
            | Core::Index
            | Core::Node
            | Core::Nodes
            | Core::NumaNode
            | Core::Driver
            | Core::Subsystem => true,
            Core::Ids
            | Core::Replica
            | Core::NodeIndex
            | Core::ContainerPath
            | Core::ContainerPaths => false,
        },
        Key::Fact(_) | Key::Attribute(_) | Key::Relative(..) => true,
    }
}

/// Whether two nodes of one device have two values of the key, or may have.
fn tells_nodes_apart(key: &Key) -> bool {
    match key {
        Key::Core(core) => matches!(core, Core::Node | Core::Nodes | Core::NodeIndex),
        Key::Fact(fact) => fact.form == Form::Nodes,
        // It may find several files.
        Key::Attribute(_) | Key::Relative(..) => true,
    }
}

/// Whether a container can have only one device that has a node at `container_path`.
fn is_for_one_device(resource: &Resource, container_path: &Template) -> bool {
    let is_used = |it: &&Alternative| {
        let mut entries = it.allocation.devices.iter().flatten();
        entries.any(|it| it.container_path.as_ref() == Some(container_path))
    };
    let alternatives = resource.alternatives.iter().filter(is_used);
    let n_devices = alternatives.map(n_devices_max).fold(0, usize::saturating_add);
    resource.sharing.max_per_container == Some(1) || n_devices <= 1
}

/// The most devices that an alternative can give.
fn n_devices_max(alternative: &Alternative) -> usize {
    let found = match &alternative.source {
        Source::Nodes(globs) | Source::Paths(globs) if globs.iter().all(Glob::is_literal) => {
            globs.len()
        }
        Source::Nodes(_)
        | Source::Paths(_)
        | Source::Class(_)
        | Source::Bus(_)
        | Source::Usb
        | Source::Cdi(_) => usize::MAX,
    };
    let grouped = match alternative.group_by {
        Some(GroupBy::All) => 1,
        Some(GroupBy::Key(_)) | None => usize::MAX,
    };
    found.min(grouped).min(alternative.limit.unwrap_or(usize::MAX))
}

/// The fewest nodes that a device of an alternative has.
fn n_nodes_min(alternative: &Alternative) -> usize {
    let members = match &alternative.source {
        Source::Nodes(globs) => match &alternative.group_by {
            // Each glob must find something, or the device is not complete.
            Some(GroupBy::All) => globs.len(),
            Some(GroupBy::Key(_)) => alternative.members.unwrap_or(1),
            None => 1,
        },
        Source::Class(_) | Source::Bus(_) | Source::Usb | Source::Paths(_) | Source::Cdi(_) => 1,
    };
    let nodes = match &alternative.nodes {
        Some(nodes) => nodes.iter().filter(|it| !it.optional).count(),
        None => 1,
    };
    members.max(nodes)
}

/// The path with a number that tells: `/dev/serial0` becomes `/dev/serial{index}`.
fn numbered(path: &Template, number: &str) -> String {
    let text = path.to_string();
    let stem = text.trim_end_matches(|it: char| it.is_ascii_digit());
    // Two numbers run together would say nothing.
    let separator = if stem.ends_with('}') { "-" } else { "" };
    format!("{stem}{separator}{number}")
}
