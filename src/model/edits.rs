//! What one container is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::name::ResourceName;

/// What one container is given. Sorted and free of repeats, so that equal requests give equal
/// answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerEdits {
    /// Device nodes; no two have the same path in the container.
    pub devices: Vec<DeviceNode>,
    /// Mounts; no two have the same path in the container.
    pub mounts: Vec<Mount>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Annotations for the container runtime.
    pub annotations: BTreeMap<String, String>,
    /// Fully qualified names of CDI devices, which the container runtime knows from specs:
    /// `nvidia.com/gpu=0`.
    pub cdi_devices: BTreeSet<String>,
}

/// The texts of CDI specs, by the resource that each is of.
pub type Specs = BTreeMap<ResourceName, Arc<str>>;

/// A device node in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// A directory or file in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// The container may not write there.
    pub read_only: bool,
}
