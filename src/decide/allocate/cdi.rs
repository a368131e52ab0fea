//! What a container runtime reads instead of nodes and mounts in our answers: specs of the Container
//! Device Interface. Pure.
//!
//! A spec is made of the same edits as the plain answer, device by device. Environment variables and
//! annotations stay in the answer: those of several devices are joined there, which specs cannot say.
//! (<https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>)

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    decide::{
        allocate::{EditsError, compat, edits},
        hash::fnv1a,
    },
    model::{
        allocation::Compat,
        device::Device,
        edits::{ContainerEdits, DeviceNode, Mount},
        name::ResourceName,
    },
};

/// How the names of our files begin. Nobody else's should.
pub const FILE_PREFIX: &str = "chandler_";

/// Where the file of a resource is, in the directory of specs.
pub fn file_name(resource: &ResourceName) -> String {
    // A domain holds no `_`, so two resources cannot have one name here.
    format!("{FILE_PREFIX}{}.json", resource.as_str().replace('/', "_"))
}

/// The kind of the devices of a resource: one of its own, which no toolkit uses.
pub fn kind(resource: &ResourceName) -> String {
    let (domain, name) = resource.as_str().split_once('/').unwrap_or_default();
    // A vendor begins with a letter, and a class holds no dots. A vendor of one letter ends the runtimes that
    // read it: their library does not expect it.
    let is_vendor = domain.len() > 1 && domain.starts_with(|it: char| it.is_ascii_alphabetic());
    let vendor = if is_vendor { domain.to_owned() } else { format!("chandler.{domain}") };
    let class = distinct(name, name.replace('.', "-"));
    format!("{vendor}/chandler-{class}")
}

/// The name of a device within its kind: its id, of which only some characters may be in it.
pub fn device_name(device: &Device) -> String {
    let id = device.id.as_str();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-.:".contains(it);
    let name: String = id.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
    let name = name.trim_matches(|it: char| !it.is_ascii_alphanumeric());
    distinct(id, name.to_owned())
}

/// `made` of `text`, with something that tells it from what else it could have been made of.
fn distinct(text: &str, made: String) -> String {
    if made == text {
        return made;
    }
    let hash = fnv1a(text.as_bytes()) & 0xffff_ffff;
    let parts = [made, format!("{hash:08x}")];
    parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<String>>().join("-")
}

/// The spec of these devices, as the text of its file. Devices that a container could not be given, and
/// those that have a spec already, are left out. `None` if none is left: a spec without devices is invalid.
pub fn spec<'a>(
    resource: &ResourceName,
    compat: Option<Compat>,
    devices: impl Iterator<Item = &'a Device>,
) -> Option<String> {
    let devices = devices.filter(|it| it.cdi_device.is_none());
    let devices: BTreeMap<String, ContainerEdits> = devices
        .filter_map(|it| {
            let mut own = own(compat, it).ok()?;
            own.devices.iter_mut().for_each(|node| resolve(it, node));
            Some((device_name(it), own))
        })
        .filter(|(_, edits)| says_something(edits))
        .collect();
    if devices.is_empty() {
        return None;
    }
    let spec = Spec {
        cdi_version: version(&devices),
        kind: kind(resource),
        devices: devices.iter().map(|(name, edits)| SpecDevice::new(name, edits)).collect(),
    };
    serde_json::to_string(&spec).ok()
}

/// What a device brings by itself.
fn own(compat: Option<Compat>, device: &Device) -> Result<ContainerEdits, EditsError> {
    let mut own = edits(&[device])?;
    compat::permit(compat, &[device], &mut own);
    Ok(own)
}

/// A runtime follows links in plain answers, and takes them for mistakes in specs.
fn resolve(device: &Device, given: &mut DeviceNode) {
    if let Some(node) = device.nodes.iter().find(|it| it.host.asked == given.host_path) {
        given.host_path.clone_from(&node.host.path);
    }
}

/// Whether there is anything in it that a spec has. A device of a spec may not be empty.
fn says_something(edits: &ContainerEdits) -> bool {
    !edits.devices.is_empty() || !edits.mounts.is_empty()
}

/// The lowest version of specs that has all that is said here, for runtimes that know no higher one.
fn version(devices: &BTreeMap<String, ContainerEdits>) -> &'static str {
    let needs_more = |(name, edits): (&String, &ContainerEdits)| {
        name.starts_with(|it: char| it.is_ascii_digit())
            || edits.devices.iter().any(|it| it.host_path != it.container_path)
    };
    match devices.iter().any(needs_more) {
        true => "0.5.0",
        false => "0.3.0",
    }
}

/// The same answer by names instead of nodes and mounts, if it is the same: if what the specs of `devices`
/// say each for itself is what they are given together.
pub fn by_name(
    resource: &ResourceName,
    compat: Option<Compat>,
    devices: &[&Device],
    plain: ContainerEdits,
) -> ContainerEdits {
    if devices.iter().any(|it| it.cdi_device.is_some()) {
        // What is given beside the spec of another is in none of ours.
        return plain;
    }
    let (mut nodes, mut mounts) = (Vec::new(), Vec::new());
    let mut cdi_devices = plain.cdi_devices.clone();
    for device in devices {
        let Ok(own) = own(compat, device) else { return plain };
        if says_something(&own) {
            cdi_devices.insert(format!("{}={}", kind(resource), device_name(device)));
        }
        nodes.extend(own.devices.into_iter().filter(|it| !nodes.contains(it)).collect::<Vec<_>>());
        mounts.extend(own.mounts.into_iter().filter(|it| !mounts.contains(it)).collect::<Vec<_>>());
    }
    if nodes != plain.devices || mounts != plain.mounts {
        return plain;
    }
    ContainerEdits { devices: Vec::new(), mounts: Vec::new(), cdi_devices, ..plain }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    cdi_version: &'static str,
    kind: String,
    devices: Vec<SpecDevice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecDevice<'a> {
    name: &'a str,
    container_edits: SpecEdits<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecEdits<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_nodes: Vec<SpecNode<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<SpecMount<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecNode<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_path: Option<&'a str>,
    permissions: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecMount<'a> {
    host_path: &'a str,
    container_path: &'a str,
    options: [&'static str; 3],
}

impl<'a> SpecDevice<'a> {
    fn new(name: &'a str, edits: &'a ContainerEdits) -> SpecDevice<'a> {
        let node = |it: &'a DeviceNode| SpecNode {
            path: &it.container_path,
            host_path: Some(it.host_path.as_str()).filter(|host| *host != it.container_path),
            permissions: &it.permissions,
        };
        // As a kubelet asks for mounts of plain answers.
        let mount = |it: &'a Mount| SpecMount {
            host_path: &it.host_path,
            container_path: &it.container_path,
            options: ["rbind", "rprivate", if it.read_only { "ro" } else { "rw" }],
        };
        let container_edits = SpecEdits {
            device_nodes: edits.devices.iter().map(node).collect(),
            mounts: edits.mounts.iter().map(mount).collect(),
        };
        SpecDevice { name, container_edits }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;

    use super::*;
    use crate::model::{
        device::{Description, HostPath, Node, Ownership},
        name::DeviceId,
    };

    fn device(id: &str, node: &str, asked: &str) -> Device {
        let host = HostPath { path: node.to_owned(), asked: asked.to_owned() };
        let node = Node { host, number: None, ownership: Ownership::Own };
        let description =
            Description { name: id.to_owned(), nodes: vec![node], ..Description::default() };
        Device::new(DeviceId::new(id).unwrap(), description)
    }

    fn resource() -> ResourceName {
        ResourceName::parse("example.com/acc").unwrap()
    }

    #[test]
    fn a_spec_says_what_a_container_gets_of_each_device_at_the_lowest_version_that_can() {
        let (a, b) = (device("a", "/dev/a", "/dev/a"), device("b", "/dev/b", "/dev/b"));
        expect![[r#"{"cdiVersion":"0.3.0","kind":"example.com/chandler-acc","devices":[{"name":"a","containerEdits":{"deviceNodes":[{"path":"/dev/a","permissions":"rw"}]}},{"name":"b","containerEdits":{"deviceNodes":[{"path":"/dev/b","permissions":"rw"}]}}]}"#]]
        .assert_eq(&spec(&resource(), None, [&b, &a].into_iter()).unwrap());
        let link = device("0001@usb", "/dev/ttyUSB0", "/dev/zigbee");
        expect![[r#"{"cdiVersion":"0.5.0","kind":"example.com/chandler-acc","devices":[{"name":"0001_usb-e9dd8244","containerEdits":{"deviceNodes":[{"path":"/dev/zigbee","hostPath":"/dev/ttyUSB0","permissions":"rw"}]}}]}"#]]
        .assert_eq(&spec(&resource(), None, [&link].into_iter()).unwrap());
    }

    #[test]
    fn names_are_valid_and_two_things_never_have_one() {
        let kinds = ["a.io/x.y", "a.io/x-y", "1.io/x", "a/x"]
            .map(|it| kind(&ResourceName::parse(it).unwrap()));
        expect![[
            r#"["a.io/chandler-x-y-7f3152d6", "a.io/chandler-x-y", "chandler.1.io/chandler-x", "chandler.a/chandler-x"]"#
        ]]
        .assert_eq(&format!("{kinds:?}"));
        let names = ["a@b", "a_b", "a+b", "@@", "-a"]
            .map(|it| device_name(&device(it, "/dev/x", "/dev/x")));
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        for name in names {
            let is_fine = |it: char| it.is_ascii_alphanumeric() || "_-.:".contains(it);
            assert!(name.chars().all(is_fine), "{name}");
            assert!(name.starts_with(|it: char| it.is_ascii_alphanumeric()), "{name}");
        }
    }

    #[test]
    fn an_answer_by_name_is_given_only_where_it_says_the_same() {
        let (a, b) = (device("a", "/dev/a", "/dev/a"), device("b", "/dev/b", "/dev/b"));
        let plain = edits(&[&a, &b]).unwrap();
        let named = by_name(&resource(), None, &[&a, &b], plain.clone());
        assert!(named.devices.is_empty() && named.mounts.is_empty());
        let names: Vec<&str> = named.cdi_devices.iter().map(String::as_str).collect();
        assert_eq!(names, ["example.com/chandler-acc=a", "example.com/chandler-acc=b"]);

        let mut other = plain;
        other.devices[1].container_path = "/dev/x1".to_owned();
        assert_eq!(by_name(&resource(), None, &[&a, &b], other.clone()), other);
    }

    #[test]
    fn the_permissions_of_another_plugin_are_in_the_spec_too() {
        let (a, b) = (device("a", "/dev/a", "/dev/a"), device("b", "/dev/b", "/dev/b"));
        let compat = Some(Compat::KubevirtPci);
        let told = spec(&resource(), compat, [&a, &b].into_iter()).unwrap();
        assert_eq!(told.matches(r#""permissions":"mrw""#).count(), 2, "{told}");
        let mut plain = edits(&[&a, &b]).unwrap();
        compat::permit(compat, &[&a, &b], &mut plain);
        let named = by_name(&resource(), compat, &[&a, &b], plain);
        assert!(named.devices.is_empty() && named.cdi_devices.len() == 2);
    }

    #[test]
    fn a_link_in_a_host_path_is_given_by_the_node_that_it_leads_to() {
        let text = "version: v1
resources: [{ name: a.b/c, discovery: { nodes: [/dev/zigbee] }, allocation: { cdi: true, devices: [{ hostPath: /dev/zigbee, containerPath: /dev/radio }] } }]
";
        let resources = crate::config::parse("c.yaml", text).unwrap().resources;
        let mut description =
            Description::clone(&device("a", "/dev/ttyUSB0", "/dev/zigbee").description);
        description.allocation = Arc::clone(&resources[0].alternatives[0].allocation);
        let link = Device::new(DeviceId::new("a").unwrap(), description);
        let told = spec(&resource(), None, [&link].into_iter()).unwrap();
        assert!(
            told.contains(r#""path":"/dev/radio","hostPath":"/dev/ttyUSB0","permissions":"rw""#),
            "{told}"
        );
        let plain = edits(&[&link]).unwrap();
        assert_eq!(by_name(&resource(), None, &[&link], plain).cdi_devices.len(), 1);
    }

    #[test]
    fn what_is_given_beside_the_spec_of_another_stays_in_the_answer() {
        let mut description = Description::clone(&device("a", "/dev/a", "/dev/a").description);
        description.cdi_device = Some("b.io/c=a".to_owned());
        let of_other = Device::new(DeviceId::new("a").unwrap(), description);
        let mut plain = edits(&[&of_other]).unwrap();
        let (host_path, container_path) = ("/a".to_owned(), "/a".to_owned());
        plain.mounts.push(Mount { host_path, container_path, read_only: true });
        assert_eq!(by_name(&resource(), None, &[&of_other], plain.clone()), plain);
        assert_eq!(plain.cdi_devices.len(), 1);
    }
}
