//! Turns the kubelet's choice of devices into what the container gets. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use crate::{
    decide::{natural, template},
    model::{
        allocation::{Allocation, DeviceTemplate, MountTemplate},
        device::Device,
        edits::{ContainerEdits, DeviceNode, Mount},
        snapshot::{Health, Snapshot},
        template::{Core, Key, Template},
    },
};

/// What a container may do with a device node that no template describes.
const PERMISSIONS: &str = "rw";

/// Why a request was refused. The kubelet fails the pod with this text, so it says which device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The kubelet is behind us, or asks the wrong plugin.
    #[error("{resource} has no device {id}")]
    UnknownDevice {
        /// The resource asked.
        resource: String,
        /// The id as the kubelet sent it.
        id: String,
    },
    /// The device broke between the kubelet's last update and this call.
    #[error("device {id} of {resource} is unhealthy: {reason}")]
    UnhealthyDevice {
        /// The resource asked.
        resource: String,
        /// The id as the kubelet sent it.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator allows fewer.
    #[error("a container may have {max} of {resource} (sharing.maxPerContainer), not {asked}")]
    TooMany {
        /// The resource asked.
        resource: String,
        /// How many were asked for.
        asked: usize,
        /// How many are allowed.
        max: u32,
    },
}

/// Computes what one container gets for `ids`.
///
/// Order and repeats in `ids` do not matter: the same set gives the same answer. Whether a device is
/// in use does not matter either, because that is the kubelet's to know.
pub fn allocate(snapshot: &Snapshot, ids: &[String]) -> Result<ContainerEdits, AllocateError> {
    let devices = physical_devices(snapshot, ids)?;
    let all_ids: Vec<String> = devices.iter().map(|it| it.id.to_string()).collect();
    let mut edits = ContainerEdits::default();
    let mut env = Pairs::default();
    let mut annotations = Pairs::default();
    for (index, device) in devices.iter().enumerate() {
        let view = View { device, index, all_ids: &all_ids };
        add_devices(&mut edits.devices, &view);
        add_mounts(&mut edits.mounts, &view);
        env.add(&device.allocation.env, &view);
        annotations.add(&device.allocation.annotations, &view);
    }
    edits.env = env.finish();
    edits.annotations = annotations.finish();
    Ok(edits)
}

/// The hardware behind `ids`, each once, in the natural order of the kernel's names.
fn physical_devices<'s>(
    snapshot: &'s Snapshot,
    ids: &[String],
) -> Result<Vec<&'s Device>, AllocateError> {
    let resource = || snapshot.resource.to_string();
    let ids: BTreeSet<&String> = ids.iter().collect();
    if let Some(max) = snapshot.max_per_container
        && u32::try_from(ids.len()).map_or(true, |asked| asked > max)
    {
        return Err(AllocateError::TooMany { resource: resource(), asked: ids.len(), max });
    }
    let mut devices: Vec<&Device> = Vec::new();
    for id in ids {
        let Some(offer) = snapshot.get(id) else {
            return Err(AllocateError::UnknownDevice { resource: resource(), id: id.clone() });
        };
        if let Health::Unhealthy { reason } = &offer.health {
            return Err(AllocateError::UnhealthyDevice {
                resource: resource(),
                id: id.clone(),
                reason: reason.clone(),
            });
        }
        if !devices.iter().any(|it| it.id == offer.device.id) {
            devices.push(&offer.device);
        }
    }
    devices.sort_by(|a, b| natural::compare(&a.name, &b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(devices)
}

/// A device in its place in the container.
struct View<'a> {
    device: &'a Device,
    index: usize,
    all_ids: &'a [String],
}

impl View<'_> {
    fn allocation(&self) -> &Allocation {
        &self.device.allocation
    }

    /// The values of `key`; `{node}` is the first node.
    fn values(&self, key: &Key) -> Vec<String> {
        match key {
            Key::Core(Core::Id) => vec![self.device.id.to_string()],
            Key::Core(Core::Ids) => self.all_ids.to_vec(),
            Key::Core(Core::Name) => vec![self.device.name.clone()],
            Key::Core(Core::Number) => {
                natural::last_number(&self.device.name).into_iter().collect()
            }
            Key::Core(Core::Index) => vec![self.index.to_string()],
            Key::Core(Core::Node) => self.device.nodes.first().cloned().into_iter().collect(),
            Key::Core(Core::Nodes) => self.device.nodes.clone(),
            Key::Core(Core::NumaNode) => {
                self.device.numa_node.map(|it| it.to_string()).into_iter().collect()
            }
            Key::Core(Core::Replica) => Vec::new(),
            Key::Core(Core::Driver | Core::Subsystem)
            | Key::Fact(_)
            | Key::Attribute(_)
            | Key::Ancestor(_) => {
                self.device.attributes.get(&key.to_string()).cloned().unwrap_or_default()
            }
        }
    }

    fn text(&self, template: &Template) -> String {
        let Ok(text) = template::render(template, |key| Ok::<_, Infallible>(self.values(key)));
        text
    }

    /// One text for each node of the device, where the template names it.
    fn texts(&self, template: &Template) -> Vec<String> {
        let Ok(texts) = template::render_each(template, |key| {
            Ok::<_, Infallible>(match key {
                Key::Core(Core::Node) => self.device.nodes.clone(),
                // All ids belong together: they never make an entry each.
                Key::Core(Core::Ids) => vec![self.all_ids.join(",")],
                Key::Core(_) | Key::Fact(_) | Key::Attribute(_) | Key::Ancestor(_) => {
                    self.values(key)
                }
            })
        });
        texts
    }

    /// Host paths with their container paths.
    fn path_pairs(&self, host: &Template, container: &Template) -> Vec<(String, String)> {
        let hosts = self.texts(host);
        let containers = self.texts(container);
        let container = |idx: usize| containers.get(idx).or(containers.last()).cloned();
        hosts.into_iter().enumerate().filter_map(|(idx, it)| Some((it, container(idx)?))).collect()
    }
}

fn add_devices(nodes: &mut Vec<DeviceNode>, view: &View<'_>) {
    let mut add = |host_path: String, container_path: String, permissions: &str| {
        // Two devices may share a node, a control device say; the container gets it once.
        if !nodes.iter().any(|it| it.container_path == container_path) {
            let permissions = permissions.to_owned();
            nodes.push(DeviceNode { host_path, container_path, permissions });
        }
    };
    match &view.allocation().devices {
        None => {
            for node in &view.device.nodes {
                add(node.clone(), node.clone(), PERMISSIONS);
            }
        }
        Some(templates) => {
            for DeviceTemplate { host_path, container_path, permissions } in templates {
                for (host, container) in view.path_pairs(host_path, container_path) {
                    add(host, container, permissions);
                }
            }
        }
    }
}

fn add_mounts(mounts: &mut Vec<Mount>, view: &View<'_>) {
    let mut add = |host_path: String, container_path: String, read_only: bool| {
        if !mounts.iter().any(|it| it.container_path == container_path) {
            mounts.push(Mount { host_path, container_path, read_only });
        }
    };
    for MountTemplate { host_path, container_path, read_only } in &view.allocation().mounts {
        for (host, container) in view.path_pairs(host_path, container_path) {
            add(host, container, *read_only);
        }
    }
    // What is handed over whole comes last, so that a template may say otherwise.
    for path in &view.device.paths {
        add(path.clone(), path.clone(), true);
    }
}

/// Names with the values of all devices, each once, in order.
#[derive(Default)]
struct Pairs(BTreeMap<String, Vec<String>>);

impl Pairs {
    fn add(&mut self, templates: &[(Template, Template)], view: &View<'_>) {
        for (name, value) in templates {
            let values = self.0.entry(view.text(name)).or_default();
            let value = view.text(value);
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
        }
    }

    fn finish(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(name, values)| (name, values.join(","))).collect()
    }
}
