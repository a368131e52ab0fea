//! Turns the kubelet's choice of devices into what the container gets. Pure.

mod by_path;
pub mod cdi;
pub mod compat;
pub mod device_info;
pub mod labels;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    config::quoted,
    decide::{
        allocate::by_path::ByPath,
        fill::{Use, fill, fill_each},
        hash::fnv1a,
        known::{InContainer, Known, Side},
        natural,
    },
    model::{
        allocation::{Compat, DeviceTemplate, MountTemplate},
        device::{Device, HostPath},
        edits::{ContainerEdits, DeviceNode, Mount},
        name::{DeviceId, ResourceName},
        snapshot::{Health, Snapshot},
        template::{Core, Key, Template},
    },
};

/// What a container may do with a device node that no template describes.
const PERMISSIONS: &str = "rw";

/// How much of an unknown id is shown, in characters.
const ID_SHOWN_MAX: usize = 80;

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
    /// What the container would get makes no sense.
    #[error("{resource}: {what}")]
    Edits {
        /// The resource asked.
        resource: String,
        /// What is wrong with it.
        what: EditsError,
    },
}

/// What is wrong with what a container would get. A phrase for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditsError {
    /// A device says something of itself that may not be filled in.
    #[error("{what}")]
    Unsafe {
        /// The device.
        device: DeviceId,
        /// What, and what to do about it.
        what: String,
    },
    /// Two things would have one path in the container.
    #[error(
        "{first} and {second} would both be {container_path} in the container; tell them apart in `containerPath`, by `{{index}}` or `{{nodeIndex}}`"
    )]
    SamePath {
        /// The path.
        container_path: String,
        /// On the host.
        first: String,
        /// On the host.
        second: String,
    },
}

/// Computes what one container gets for `ids`.
///
/// Order and repeats in `ids` do not matter: the same set gives the same answer. Whether a device is
/// in use does not matter either, because that is the kubelet's to know.
pub fn allocate(snapshot: &Snapshot, ids: &[String]) -> Result<ContainerEdits, AllocateError> {
    let devices = physical_devices(snapshot, ids)?;
    let resource = &snapshot.resource;
    answer(resource, snapshot.compat, &devices, snapshot.is_in_spec)
        .map_err(|what| AllocateError::Edits { resource: resource.to_string(), what })
}

/// What a container gets that has `device` alone.
pub fn of_one(
    resource: &ResourceName,
    compat: Option<Compat>,
    device: &Device,
    is_in_spec: bool,
) -> Result<ContainerEdits, EditsError> {
    answer(resource, compat, &[device], is_in_spec)
}

fn answer(
    resource: &ResourceName,
    compat: Option<Compat>,
    devices: &[&Device],
    is_in_spec: bool,
) -> Result<ContainerEdits, EditsError> {
    let mut edits = edits(devices)?;
    if let Some(compat) = compat {
        compat::add(compat, resource, devices, &mut edits)?;
    }
    if is_in_spec {
        edits = cdi::by_name(resource, compat, devices, edits);
    }
    if !edits.cdi_devices.is_empty() {
        let names: Vec<&str> = edits.cdi_devices.iter().map(String::as_str).collect();
        edits.annotations.insert(cdi_annotation(resource), names.join(","));
    }
    Ok(edits)
}

/// The key of the annotation that says to kubelets before 1.29, which do not pass the names on, what
/// the container runtime reads there too. Another for each resource, or one would replace another's
/// (<https://github.com/cncf-tags/container-device-interface>).
fn cdi_annotation(resource: &ResourceName) -> String {
    format!("cdi.k8s.io/chandler_{:016x}", fnv1a(resource.as_str().as_bytes()))
}

/// The hardware behind `ids`, each once, well or not: what is to be prepared for a container that has it. It
/// may be one that was started before we were.
pub fn held_devices(
    snapshot: &Snapshot,
    ids: &[String],
) -> Result<Vec<Arc<Device>>, AllocateError> {
    let mut devices: BTreeMap<&DeviceId, &Arc<Device>> = BTreeMap::new();
    for id in ids {
        let Some(offer) = snapshot.get(id) else {
            let resource = snapshot.resource.to_string();
            return Err(AllocateError::UnknownDevice { resource, id: shown(id) });
        };
        devices.insert(&offer.device.id, &offer.device);
    }
    Ok(devices.into_values().cloned().collect())
}

/// What a container gets that has these devices.
pub fn edits(devices: &[&Device]) -> Result<ContainerEdits, EditsError> {
    let ids: Vec<String> = devices.iter().map(|it| it.id.to_string()).collect();
    let mut edits = ContainerEdits::default();
    let (mut nodes, mut mounts) = (ByPath::default(), ByPath::default());
    let mut env = Pairs::default();
    let mut annotations = Pairs::default();
    for (index, device) in devices.iter().enumerate() {
        let container = Some(InContainer { index, ids: &ids, paths: &[] });
        let view = View(Known { container, ..Known::of(device) });
        add_devices(&mut nodes, &view)?;
        let paths = container_paths(&nodes, device);
        let container = Some(InContainer { index, ids: &ids, paths: &paths });
        let view = View(Known { container, ..Known::of(device) });
        add_mounts(&mut mounts, &view)?;
        edits.cdi_devices.extend(device.cdi_device.clone());
        env.add(&device.allocation.env, &view)?;
        annotations.add(&device.allocation.annotations, &view)?;
    }
    (edits.devices, edits.mounts) = (nodes.into_vec(), mounts.into_vec());
    edits.env = env.finish();
    edits.annotations = annotations.finish();
    Ok(edits)
}

/// Where the nodes of a device are in the container.
fn container_paths(nodes: &ByPath<DeviceNode>, device: &Device) -> Vec<String> {
    // A node that several devices share may be there more than once; the last is this one's.
    let path_of = |host_path: &str| Some(nodes.last_of(host_path)?.container_path.clone());
    if device.cdi_device.is_some() && device.allocation.devices.is_none() {
        // They are where the spec has them.
        return device.nodes.iter().map(|it| it.host.asked.clone()).collect();
    }
    device.node_paths().filter_map(path_of).collect()
}

/// An id that nobody has checked, as it is shown: so much of it that any of ours would be whole.
fn shown(id: &str) -> String {
    let mut shown: String = id.chars().take(ID_SHOWN_MAX).flat_map(char::escape_debug).collect();
    if id.chars().nth(ID_SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
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
    let mut devices: BTreeMap<&DeviceId, &Device> = BTreeMap::new();
    for id in ids {
        let Some(offer) = snapshot.get(id) else {
            return Err(AllocateError::UnknownDevice { resource: resource(), id: shown(id) });
        };
        if let Health::Unhealthy(finding) = &offer.health {
            return Err(AllocateError::UnhealthyDevice {
                resource: resource(),
                id: id.clone(),
                reason: finding.reason.clone(),
            });
        }
        devices.insert(&offer.device.id, &offer.device);
    }
    let mut devices: Vec<&Device> = devices.into_values().collect();
    devices.sort_by(|a, b| natural::compare(&a.name, &b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(devices)
}

/// A device in its position in the container.
struct View<'a>(Known<'a>);

impl View<'_> {
    fn device(&self) -> &Device {
        self.0.device
    }

    fn text(&self, template: &Template) -> Result<String, EditsError> {
        fill(template, Use::Text, |key| Ok(self.0.values(key))).map_err(|what| self.refused(what))
    }

    /// One path for each node of the device, where the template names it.
    fn paths(&self, template: &Template, side: Side) -> Result<Vec<String>, EditsError> {
        fill_each(template, Use::Path, |key| Ok(self.0.values_by_node(key, side)))
            .map_err(|what| self.refused(what))
    }

    fn refused(&self, what: String) -> EditsError {
        EditsError::Unsafe { device: self.device().id.clone(), what }
    }

    /// Host paths with their container paths.
    fn path_pairs(
        &self,
        host: &Template,
        container: Option<&Template>,
    ) -> Result<Vec<(String, String)>, EditsError> {
        let hosts = self.paths(host, Side::Host)?;
        let containers = match container {
            Some(template) => self.paths(template, Side::Host)?,
            None => self.paths(host, Side::Container)?,
        };
        let container = |idx: usize| containers.get(idx).or(containers.last()).cloned();
        let pairs = hosts.into_iter().enumerate();
        Ok(pairs.filter_map(|(idx, it)| Some((it, container(idx)?))).collect())
    }
}

fn add_devices(nodes: &mut ByPath<DeviceNode>, view: &View<'_>) -> Result<(), EditsError> {
    let mut add = |host_path: String, container_path: String, permissions: &str| {
        if let Some(other) = nodes.at(&container_path) {
            // Two devices may share a node, a control device say; the container gets it once.
            return same_path(&other.host_path, host_path, container_path);
        }
        let permissions = permissions.to_owned();
        nodes.push(DeviceNode { host_path, container_path, permissions });
        Ok(())
    };
    match &view.device().allocation.devices {
        // The spec has its nodes.
        None if view.device().cdi_device.is_some() => {}
        None => {
            for HostPath { path, asked } in view.device().nodes.iter().map(|it| &it.host) {
                add(path.clone(), asked.clone(), PERMISSIONS)?;
            }
        }
        Some(templates) => {
            for DeviceTemplate { host_path, container_path, permissions } in templates {
                for (host, container) in view.path_pairs(host_path, container_path.as_ref())? {
                    add(host, container, permissions)?;
                }
            }
        }
    }
    Ok(())
}

/// What is given twice is given once; two different things cannot have one path.
fn same_path(first: &str, second: String, container_path: String) -> Result<(), EditsError> {
    match first == second {
        true => Ok(()),
        false => Err(EditsError::SamePath { container_path, first: first.to_owned(), second }),
    }
}

fn add_mounts(mounts: &mut ByPath<Mount>, view: &View<'_>) -> Result<(), EditsError> {
    for MountTemplate { host_path, container_path, read_only } in &view.device().allocation.mounts {
        for (host_path, container_path) in view.path_pairs(host_path, Some(container_path))? {
            match mounts.at(&container_path) {
                Some(other) => same_path(&other.host_path, host_path, container_path)?,
                None => mounts.push(Mount { host_path, container_path, read_only: *read_only }),
            }
        }
    }
    // What is handed over whole comes last, so that a template may say otherwise.
    for HostPath { path, asked } in &view.device().paths {
        if mounts.at(asked).is_none() {
            let (host_path, container_path) = (path.clone(), asked.clone());
            mounts.push(Mount { host_path, container_path, read_only: true });
        }
    }
    Ok(())
}

/// Names with the values of all devices, each once, in order.
#[derive(Default)]
struct Pairs(BTreeMap<String, Values>);

#[derive(Default)]
struct Values {
    in_order: Vec<String>,
    seen: HashSet<String>,
    /// What says the same for each device, and is among them.
    of_container: Vec<Template>,
}

impl Pairs {
    fn add(
        &mut self,
        templates: &[(Template, Template)],
        view: &View<'_>,
    ) -> Result<(), EditsError> {
        for (name, value) in templates {
            let name = view.text(name)?;
            if name.is_empty() || name.contains(|it: char| it == '=' || it.is_whitespace()) {
                let what = format!("{} cannot be the name of a variable", quoted(&name));
                return Err(view.refused(what));
            }
            let values = self.0.entry(name).or_default();
            // All devices of a container would say the same: with a hundred ids, a hundred texts of a hundred ids.
            if is_of_the_container(value) {
                if values.of_container.contains(value) {
                    continue;
                }
                values.of_container.push(value.clone());
            }
            let value = view.text(value)?;
            if !value.is_empty() && values.seen.insert(value.clone()) {
                values.in_order.push(value);
            }
        }
        Ok(())
    }

    fn finish(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(name, values)| (name, values.in_order.join(","))).collect()
    }
}

/// Whether it says the same whichever device of a container it is filled in for: it names nothing but all ids.
fn is_of_the_container(template: &Template) -> bool {
    template.keys().all(|it| *it == Key::Core(Core::Ids))
}
