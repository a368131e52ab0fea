//! What must outlive the process: which hardware has which id, and what the kubelet was told.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{
    device::Hardware,
    name::{DeviceId, ResourceName},
};

/// What is remembered of each resource.
pub type Remembered = BTreeMap<ResourceName, Arc<RememberedDevices>>;

/// What is remembered of the devices of one resource, by their ids.
pub type RememberedDevices = BTreeMap<DeviceId, RememberedDevice>;

/// What is remembered of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RememberedDevice {
    /// Which hardware has the id; `None` if only the id is known.
    pub hardware: Option<Hardware>,
    /// How many members and nodes it had when it was offered.
    pub n_parts: usize,
    /// What the kubelet calls it, one id for each replica: all that it may have given to a pod.
    pub offers: Vec<DeviceId>,
    /// Why it is unhealthy, if it is.
    pub unhealthy: Option<String>,
}
