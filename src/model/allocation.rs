//! What a container gets with its devices, as the operator wrote it.

use serde::{Serialize, Serializer};

use crate::model::{
    fact::Fact,
    name::ResourceName,
    template::{Core, Key, Template},
    written,
};

/// Templates for what a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Device nodes; `None` means every node of the device, under its own path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceTemplate>>,
    /// Directories and files of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountTemplate>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "written::pairs")]
    pub env: Vec<(Template, Template)>,
    /// Annotations of the container, for the runtime.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "written::pairs")]
    pub annotations: Vec<(Template, Template)>,
}

/// What `allocation` says of a resource as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// Which devices are given where there is a choice.
    pub policy: Policy,
    /// What they should be near to, before all that the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Near>,
    /// Whose plugin a container should find the variables of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat: Option<Compat>,
    /// Whether the container runtime reads what they bring in a CDI spec.
    pub cdi: Cdi,
}

/// Whether the container runtime reads what devices bring in a CDI spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cdi {
    /// The kubelet's answer has all of it.
    #[default]
    No,
    /// It is in a spec, where that can be written.
    Yes,
    /// It is in a spec, and where that cannot be written no device is offered.
    Required,
}

impl Serialize for Cdi {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Cdi::No => to.serialize_bool(false),
            Cdi::Yes => to.serialize_bool(true),
            Cdi::Required => to.collect_map([("required", true)]),
        }
    }
}

/// Plugins whose environment variables ours may be like, so that what was written for them runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// NVIDIA's plugin for graphics cards.
    Nvidia,
    /// The plugin for network functions of SR-IOV.
    Sriov,
    /// KubeVirt's for PCI functions.
    KubevirtPci,
    /// KubeVirt's for USB devices.
    KubevirtUsb,
    /// KubeVirt's for mediated devices.
    KubevirtMdev,
    /// Intel's for QuickAssist.
    Qat,
}

impl Compat {
    /// The variable that names the devices; of several, the beginning of each.
    pub fn variable(self, resource: &ResourceName) -> String {
        let upper = || resource.as_str().to_uppercase().replace(['/', '.'], "_");
        match self {
            Compat::Nvidia => "NVIDIA_VISIBLE_DEVICES".to_owned(),
            Compat::Sriov => format!("PCIDEVICE_{}", upper()),
            Compat::KubevirtPci => format!("PCI_RESOURCE_{}", upper()),
            Compat::KubevirtUsb => format!("USB_RESOURCE_{}", upper()),
            Compat::KubevirtMdev => format!("MDEV_PCI_RESOURCE_{}", upper()),
            Compat::Qat => "QAT".to_owned(),
        }
    }

    /// What of a device the variables are made from.
    pub fn keys(self) -> Vec<Key> {
        let fact = |word| Fact::find(word).map(Key::Fact);
        let keys = match self {
            Compat::Nvidia | Compat::KubevirtMdev => Vec::new(),
            Compat::Sriov => vec![
                fact("pci.address"),
                Some(Key::Core(Core::Subsystem)),
                Some(Key::Attribute(RDMA_DEVICE.to_owned())),
                fact("vdpa.name"),
                fact("vdpa.type"),
            ],
            Compat::KubevirtPci | Compat::Qat => vec![fact("pci.address")],
            Compat::KubevirtUsb => vec![fact("usb.node")],
        };
        keys.into_iter().flatten().collect()
    }
}

/// The attribute that names the RDMA device of a network function: `mlx5_2`.
pub const RDMA_DEVICE: &str = "infiniband_verbs/*/ibdev";

/// Another resource, near to whose devices others should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near {
    /// Its name.
    pub resource: ResourceName,
}

/// Which devices a container should have, where there is a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// Near to each other: the same card, switch, root port, host bridge, NUMA node, package. Of those
    /// the ones that are used least.
    #[default]
    Numa,
    /// Those that are used most already, so that others stay free.
    Packed,
    /// Those that are used least, and far from each other.
    Spread,
    /// The kubelet chooses, and does not ask.
    None,
}

impl Policy {
    /// Whether the kubelet is to ask us.
    pub fn is_asked(self) -> bool {
        self != Policy::None
    }
}

/// A device node in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceTemplate {
    /// On the host.
    pub host_path: Template,
    /// In the container; `None` for the path that was asked for on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_path: Option<Template>,
    /// Any of `r`, `w`, `m`; each once, at least one.
    pub permissions: String,
}

/// A directory or file in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountTemplate {
    /// On the host.
    pub host_path: Template,
    /// In the container.
    pub container_path: Template,
    /// The container may not write there.
    pub read_only: bool,
}

impl Allocation {
    /// Every template in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let devices = self.devices.iter().flatten();
        let devices =
            devices.flat_map(|it| std::iter::once(&it.host_path).chain(&it.container_path));
        let mounts = self.mounts.iter().flat_map(|it| [&it.host_path, &it.container_path]);
        let pairs = self.env.iter().chain(&self.annotations);
        devices.chain(mounts).chain(pairs.flat_map(|(name, value)| [name, value]))
    }
}
