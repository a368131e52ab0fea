//! What a container gets with its devices, as the operator wrote it.

use serde::Serialize;

use crate::model::{name::ResourceName, template::Template, written};

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
}

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
