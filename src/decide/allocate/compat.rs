//! The environment variables of other plugins, for programs that were written for them. Pure.
//!
//! Names and values are to the last byte what the other plugin would give for the same devices, but for
//! the order of several: theirs is the kubelet's arbitrary one, ours that of the devices' names.

use std::collections::BTreeMap;

use crate::{
    config::quoted,
    decide::{
        allocate::{EditsError, edits},
        known::Known,
    },
    model::{
        allocation::{Compat, RDMA_DEVICE},
        device::Device,
        edits::ContainerEdits,
        fact::Fact,
        name::ResourceName,
        template::{Core, Key},
    },
};

/// What a container of KubeVirt's may do with its nodes.
const KUBEVIRT_PERMISSIONS: &str = "mrw";

/// Adds what the plugin that `compat` stands for says of `devices`. What the configuration says counts more.
pub fn add(
    compat: Compat,
    resource: &ResourceName,
    devices: &[&Device],
    edits: &mut ContainerEdits,
) -> Result<(), EditsError> {
    if devices.is_empty() {
        // A variable without a value may mean something.
        return Ok(());
    }
    let mut values: Vec<String> = Vec::new();
    for device in devices {
        for value in values_of(compat, device)? {
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    let variable = compat.variable(resource);
    let mut variables = Vec::new();
    match compat {
        Compat::Qat => {
            let numbered = values.into_iter().enumerate();
            variables.extend(numbered.map(|(n, it)| (format!("{variable}{n}"), it)));
        }
        Compat::Sriov => {
            variables.push((format!("{variable}_INFO"), info(devices, edits)?));
            variables.push((variable, values.join(",")));
        }
        Compat::Nvidia | Compat::KubevirtPci | Compat::KubevirtUsb | Compat::KubevirtMdev => {
            variables.push((variable, values.join(",")));
        }
    }
    for (name, value) in variables {
        edits.env.entry(name).or_insert(value);
    }
    permit(Some(compat), devices, edits);
    Ok(())
}

/// Whether `device` has what the variables are made from.
pub fn check(compat: Compat, device: &Device) -> Result<(), EditsError> {
    values_of(compat, device).map(drop)
}

/// How the other plugin calls a device. Some know no groups, and take the first of its members.
fn values_of(compat: Compat, device: &Device) -> Result<Vec<String>, EditsError> {
    let refused = |what: String| EditsError::Unsafe {
        device: device.id.clone(),
        what: format!("allocation.compat: {what}"),
    };
    let needed = |word: &str| match of_fact(device, word) {
        values if values.is_empty() => Err(refused(format!("no value for `{word}`"))),
        values => Ok(values),
    };
    let values = match compat {
        Compat::Nvidia => vec![device.id.to_string()],
        Compat::Sriov => match is_auxiliary(device) {
            true => device.members.iter().map(|it| it.name.clone()).collect(),
            false => needed("pci.address")?,
        },
        Compat::KubevirtPci => needed("pci.address")?.into_iter().take(1).collect(),
        Compat::Qat => needed("pci.address")?,
        Compat::KubevirtMdev => {
            if !is_uuid(&device.name) {
                let what = format!("{} is no UUID of a mediated device", quoted(&device.name));
                return Err(refused(format!("{what}; write `sysfs: bus/mdev`")));
            }
            vec![device.name.clone()]
        }
        Compat::KubevirtUsb => {
            let nodes = needed("usb.node")?;
            let numbers = nodes.iter().map(|it| {
                usb_numbers(it).ok_or_else(|| refused(format!("{} is no USB node", quoted(it))))
            });
            numbers.collect::<Result<_, _>>()?
        }
    };
    // A comma would make two devices of one.
    let is_plain = |it: &String| it.bytes().all(|it| it.is_ascii_graphic() && it != b',');
    match values.iter().find(|it| !is_plain(it)) {
        Some(value) => Err(refused(format!("{} cannot be in a list of devices", quoted(value)))),
        None => Ok(values),
    }
}

fn of_fact(device: &Device, word: &str) -> Vec<String> {
    let key = Fact::find(word).map(Key::Fact);
    key.map(|it| Known::of(device).values(&it)).unwrap_or_default()
}

/// Whether it is a part of a PCI function with a name of its own, such as a scalable function.
pub(super) fn is_auxiliary(device: &Device) -> bool {
    Known::of(device).values(&Key::Core(Core::Subsystem)).iter().any(|it| it == "auxiliary")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, it)| match at {
            8 | 13 | 18 | 23 => it == b'-',
            _ => it.is_ascii_hexdigit(),
        })
}

/// Bus and device number: `/dev/bus/usb/001/004` is `1:4`.
fn usb_numbers(node: &str) -> Option<String> {
    let (bus, device) = node.strip_prefix("/dev/bus/usb/")?.split_once('/')?;
    let (bus, device): (u32, u32) = (bus.parse().ok()?, device.parse().ok()?);
    Some(format!("{bus}:{device}"))
}

/// Gives the nodes that nobody has described the other plugin's permissions.
pub(super) fn permit(compat: Option<Compat>, devices: &[&Device], edits: &mut ContainerEdits) {
    match compat {
        Some(Compat::KubevirtPci | Compat::KubevirtUsb | Compat::KubevirtMdev) => {}
        Some(Compat::Nvidia | Compat::Sriov | Compat::Qat) | None => return,
    }
    for device in devices.iter().filter(|it| it.allocation.devices.is_none()) {
        for path in device.node_paths() {
            let nodes = edits.devices.iter_mut().filter(|it| it.host_path == path);
            nodes.for_each(|it| KUBEVIRT_PERMISSIONS.clone_into(&mut it.permissions));
        }
    }
}

/// Of each device by kind of access: what a program needs to know of it.
type Info = BTreeMap<String, BTreeMap<&'static str, BTreeMap<&'static str, String>>>;

/// What is said of each device beside its name, as JSON.
fn info(devices: &[&Device], given: &ContainerEdits) -> Result<String, EditsError> {
    let mut info = Info::new();
    for device in devices {
        let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for own in edits(&[device])?.devices {
            let Some((section, key)) = section(&own.host_path) else {
                continue;
            };
            let node = given.devices.iter().rfind(|it| it.host_path == own.host_path);
            let path = node.map_or(own.container_path, |it| it.container_path.clone());
            sections.entry(section).or_default().insert(key, path);
        }
        let rdma = Key::Attribute(RDMA_DEVICE.to_owned());
        if let (Some(rdma), Some(name)) =
            (sections.get_mut("rdma"), Known::of(device).values(&rdma).into_iter().next())
        {
            rdma.insert("rdma_dev", name);
        }
        for value in values_of(Compat::Sriov, device)? {
            let mut sections = sections.clone();
            let generic = BTreeMap::from([("deviceID", value.clone())]);
            sections.insert("generic", generic);
            info.insert(value, sections);
        }
    }
    // These types have no way to fail.
    Ok(serde_json::to_string(&info).unwrap_or_default())
}

/// What a node is to a program: a kind of access, and a word for the node in it.
fn section(node: &str) -> Option<(&'static str, &'static str)> {
    const BEGINNINGS: &[(&str, &str, &str)] = &[
        ("/dev/uio", "uio", "mount"),
        ("/dev/vhost-vdpa-", "vdpa", "mount"),
        ("/dev/infiniband/uverbs", "rdma", "uverbs"),
        ("/dev/infiniband/umad", "rdma", "umad"),
        ("/dev/infiniband/issm", "rdma", "issm"),
        ("/dev/infiniband/rdma_cm", "rdma", "rdma_cm"),
    ];
    match node {
        "/dev/vfio/vfio" => return Some(("vfio", "mount")),
        "/dev/vhost-net" => return Some(("vhost", "net-mount")),
        "/dev/net/tun" => return Some(("vhost", "tun-mount")),
        _ => {}
    }
    if node.strip_prefix("/dev/vfio/").is_some_and(|it| !it.contains('/')) {
        return Some(("vfio", "dev-mount"));
    }
    let (_, section, key) = BEGINNINGS.iter().find(|(it, ..)| node.starts_with(it))?;
    Some((section, key))
}
