//! What must outlive the process: which hardware has which id, and what the kubelet was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crate::model::{
    cordon::Clearance,
    device::{Device, Hardware},
    health::Fault,
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
    /// Grows with each device of which nobody can hold anything any more; what went first is forgotten first.
    pub gone: Option<u64>,
    /// What it has not recovered from, whatever else makes it unhealthy.
    pub illness: Option<Illness>,
}

impl RememberedDevice {
    /// What `device`, which has this id now, has not recovered from. Nothing if that was another piece of
    /// hardware, or if an operator has cleared it since.
    pub fn illness_of(
        &self,
        resource: &ResourceName,
        device: &Device,
        clearances: &[Clearance],
    ) -> Option<&Illness> {
        let illness = self.illness.as_ref()?;
        let is_it = self.hardware.as_ref().is_none_or(|it| it.is_same_piece(&device.hardware));
        let cleared = clearances.iter().filter(|it| it.is_about(resource, &device.id));
        let is_cleared = cleared.map(|it| &it.token).any(|it| !illness.heeded.contains(it));
        (is_it && !is_cleared).then_some(illness)
    }
}

/// What a device has not recovered from, which a restart does not heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illness {
    /// What is wrong, if anything is.
    pub fault: Option<Fault>,
    /// The line of the kernel's log that said so, unless it is very long.
    pub line: Option<String>,
    /// Since when all probes were good, where that counts.
    pub good_since: Option<Instant>,
    /// Until when it is held because it turned unhealthy too often.
    pub held_until: Option<Instant>,
    /// The tokens of the clearances about it that were heeded before: any other ends the illness.
    pub heeded: BTreeSet<String>,
    /// Whether the machine still runs on which it turned ill. If not, the hardware was reset since.
    pub is_of_this_boot: bool,
}
