//! What a container gets with its devices, as the operator wrote it.

use crate::model::template::Template;

/// Templates for what a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Device nodes; `None` means every node of the device, under its own path.
    pub devices: Option<Vec<DeviceTemplate>>,
    /// Directories and files of the host.
    pub mounts: Vec<MountTemplate>,
    /// Environment variables.
    pub env: Vec<(Template, Template)>,
    /// Annotations of the container, for the runtime.
    pub annotations: Vec<(Template, Template)>,
}

/// A device node in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTemplate {
    /// On the host.
    pub host_path: Template,
    /// In the container; `None` for the path that was asked for on the host.
    pub container_path: Option<Template>,
    /// Any of `r`, `w`, `m`; each once, at least one.
    pub permissions: String,
}

/// A directory or file in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
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
