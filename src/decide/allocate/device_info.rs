//! What network plugins are told of devices: the device-info files of the Network Plumbing Working Group
//! (<https://github.com/k8snetworkplumbingwg/device-info-spec>), which Multus reads when it makes a pod's
//! network. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    decide::{allocate::compat::is_auxiliary, known::Known},
    model::{
        allocation::{Compat, RDMA_DEVICE},
        device::Device,
        fact::Fact,
        name::ResourceName,
        snapshot::Snapshot,
        template::Key,
    },
};

/// The version of the specification.
const VERSION: &str = "1.1.0";

/// How the names of all files end.
const SUFFIX: &str = "-device.json";

/// Of a function that carries a virtio device, its node is what a program speaks to.
const VDPA: &str = "/dev/vhost-vdpa-";

/// The nodes of an RDMA device that a container has been given.
const RDMA: &str = "/dev/infiniband/uverbs";

/// What a file says.
#[derive(Serialize)]
struct DeviceInfo<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci: Option<Pci<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vdpa: Option<Vdpa<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pci<'a> {
    pci_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdma_device: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Vdpa<'a> {
    parent_device: &'a str,
    driver: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    pci_address: &'a str,
}

/// The files of the devices that are listed, by name. There are some for network functions only: where a
/// container finds the variables of the plugin for SR-IOV.
pub fn files(snapshot: &Snapshot) -> BTreeMap<String, String> {
    match snapshot.compat {
        Some(Compat::Sriov) => {}
        Some(
            Compat::Nvidia
            | Compat::KubevirtPci
            | Compat::KubevirtUsb
            | Compat::KubevirtMdev
            | Compat::Qat,
        )
        | None => return BTreeMap::new(),
    }
    let offers = snapshot.offers.iter();
    let files = offers.filter_map(|it| {
        // The specification knows a scalable function by no name: its PCI address is that of the whole card.
        if is_auxiliary(&it.device) {
            return None;
        }
        let name = format!("{}{}{SUFFIX}", prefix(&snapshot.resource), it.id.as_str());
        Some((name, text(&it.device)?))
    });
    // It is a part of a path.
    files.filter(|(name, _)| !name.contains('/')).collect()
}

/// Whether a file of this name may be one that was written for `resource` and is told by a PCI address: the name of
/// another resource may begin with that of this one.
pub fn is_of(resource: &ResourceName, file_name: &str) -> bool {
    let id = file_name.strip_prefix(prefix(resource).as_str());
    id.and_then(|it| it.strip_suffix(SUFFIX)).is_some_and(begins_with_address)
}

fn prefix(resource: &ResourceName) -> String {
    format!("{}-", resource.as_str().replace('/', "-"))
}

fn text(device: &Device) -> Option<String> {
    let value = |key: &Key| Known::of(device).values(key).into_iter().next();
    let fact = |word: &str| value(&Key::Fact(Fact::find(word)?));
    let pci_address = &fact("pci.address")?;
    let has_rdma = device.node_paths().any(|it| it.starts_with(RDMA));
    let rdma = value(&Key::Attribute(RDMA_DEVICE.to_owned())).filter(|_| has_rdma);
    let (name, driver) = (fact("vdpa.name"), fact("vdpa.type"));
    let info = match (&name, &driver) {
        (Some(parent_device), Some(driver)) => {
            let path = device.node_paths().find(|it| it.starts_with(VDPA));
            let vdpa = Some(Vdpa { parent_device, driver, path, pci_address });
            DeviceInfo { kind: "vdpa", version: VERSION, pci: None, vdpa }
        }
        (None, _) | (_, None) => {
            let pci = Some(Pci { pci_address, rdma_device: rdma.as_deref() });
            DeviceInfo { kind: "pci", version: VERSION, pci, vdpa: None }
        }
    };
    serde_json::to_string(&info).ok()
}

fn begins_with_address(id: &str) -> bool {
    let mut parts = id.split([':', '.']);
    let mut hex = |is_fine: fn(usize) -> bool| {
        let part = parts.next().unwrap_or_default();
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        is_fine(digits) && (digits == part.len() || digits == 1)
    };
    hex(|len| len >= 4) && hex(|len| len == 2) && hex(|len| len == 2) && hex(|len| len == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_resource_whose_name_stands_before_an_address() {
        let name = ResourceName::parse("intel.com/nic").unwrap();
        for (file, expected) in [
            ("intel.com-nic-0000:3b:02.0-device.json", true),
            ("intel.com-nic-10000:3b:02.0::1-device.json", true),
            ("intel.com-nic-fast-0000:3b:02.0-device.json", false),
            ("intel.com-nic-0000:3b:02.0-device.yaml", false),
            ("intel.com-nics-0000:3b:02.0-device.json", false),
            ("intel.com-nic-mlx5_core.sf.4-device.json", false),
        ] {
            assert_eq!(is_of(&name, file), expected, "{file}");
        }
    }
}
