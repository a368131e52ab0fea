//! What must outlive the process: which hardware has which id, and what the kubelet was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use crate::model::{
    cordon::Clearance,
    device::{Device, Hardware},
    health::{Fault, Verdict},
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
    pub hardware: Option<Arc<Hardware>>,
    /// How many members and nodes it had when it was offered.
    pub n_parts: usize,
    /// What the kubelet calls it, one id for each replica: all that it may have given to a pod.
    pub offers: Vec<DeviceId>,
    /// What is wrong with it, if anything is.
    pub verdict: Option<Box<Verdict>>,
    /// Grows with each device of which nobody can hold anything any more; what went first is forgotten first.
    pub gone: Option<u64>,
    /// What it has not recovered from, whatever else makes it unhealthy.
    pub illness: Option<Box<Illness>>,
    /// Until when lines of the kernel's log about it are heeded, in microseconds since boot, by the log. 0 if none can
    /// be; `None` if that is not known.
    pub logged_until: Option<u64>,
    /// What was first seen of it, where a rule asks.
    pub first: First,
    /// Which of `offers` pods hold, as far as the kubelet has said.
    pub held: BTreeMap<DeviceId, Hold>,
    /// Where its members are in sysfs, in this boot, while a pod holds it.
    pub dirs: Vec<String>,
    /// It is not clean since a pod has had it.
    pub uncleaned: Option<Box<Uncleaned>>,
}

/// That a container holds a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The container.
    pub holder: Holder,
    /// Since when, as far as we have heard of it; `None` if that was before the machine was started.
    pub since: Option<Instant>,
}

/// What pods hold, by resource: a scan must know, because a pod may take a device out of sight.
pub type Held = BTreeMap<ResourceName, Vec<HeldDevice>>;

/// A device that a pod holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDevice {
    /// The device.
    pub id: DeviceId,
    /// Which hardware it is.
    pub hardware: Arc<Hardware>,
    /// Where its members are in sysfs, if that is known.
    pub dirs: Vec<String>,
}

/// What pods held when this was written down, or had given back and was not clean.
pub fn held_before(remembered: &Remembered) -> Held {
    let held = remembered.iter().map(|(name, devices)| {
        let held = devices.iter().filter(|(_, it)| !it.held.is_empty() || it.uncleaned.is_some());
        let held = held.filter_map(|(id, it)| {
            let hardware = it.hardware.clone()?;
            Some(HeldDevice { id: id.clone(), hardware, dirs: it.dirs.clone() })
        });
        (name.clone(), held.collect::<Vec<HeldDevice>>())
    });
    held.filter(|(_, it)| !it.is_empty()).collect()
}

/// A container that holds a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.namespace, self.pod, self.container)
    }
}

/// A device that a pod has given back, and that nobody may have before it is clean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uncleaned {
    /// Why it is not, if that was tried.
    pub why: Option<String>,
    /// The tokens of the clearances about it that were heeded before: any other makes it count as clean.
    pub heeded: BTreeSet<String>,
}

impl Uncleaned {
    /// Why nobody may have the device: a phrase, without a full stop.
    pub fn reason(&self) -> String {
        match &self.why {
            None => "a pod has given it back, and it is not clean yet".to_owned(),
            Some(why) => format!("a pod has given it back, and it is not clean: {why}"),
        }
    }
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
        let illness = self.illness.as_deref()?;
        self.still(resource, device, (clearances, &illness.heeded)).then_some(illness)
    }

    /// The same of what was first seen of it.
    pub fn first_of(
        &self,
        resource: &ResourceName,
        device: &Device,
        clearances: &[Clearance],
    ) -> Option<&BTreeMap<String, Vec<String>>> {
        let First { seen, heeded } = &self.first;
        self.still(resource, device, (clearances, heeded)).then_some(seen)
    }

    /// The same of what is not clean.
    pub fn uncleaned_of(
        &self,
        resource: &ResourceName,
        device: &Device,
        clearances: &[Clearance],
    ) -> Option<&Uncleaned> {
        let uncleaned = self.uncleaned.as_ref()?;
        self.still(resource, device, (clearances, &uncleaned.heeded)).then_some(uncleaned)
    }

    /// Whether it is about the same piece of hardware, as far as that is known.
    pub fn is_of(&self, device: &Device) -> bool {
        self.hardware.as_ref().is_none_or(|it| it.is_same_piece(&device.hardware))
    }

    /// Whether it is the same piece of hardware, and nobody has cleared it since.
    fn still(
        &self,
        resource: &ResourceName,
        device: &Device,
        (clearances, heeded): (&[Clearance], &BTreeSet<String>),
    ) -> bool {
        let mut cleared = clearances.iter().filter(|it| it.is_about(resource, &device.id));
        self.is_of(device) && cleared.all(|it| heeded.contains(&it.token))
    }
}

/// What was first seen of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct First {
    /// By the keys that are compared with it.
    pub seen: BTreeMap<String, Vec<String>>,
    /// The tokens of the clearances about it that were heeded before: any other has it seen anew.
    pub heeded: BTreeSet<String>,
}

/// What a device has not recovered from, which a restart does not heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illness {
    /// What is wrong.
    pub lasting: Vec<Lasting>,
    /// Until when it is held because it turned unhealthy too often.
    pub held_until: Option<Instant>,
    /// The tokens of the clearances about it that were heeded before: any other ends the illness.
    pub heeded: BTreeSet<String>,
    /// Whether the machine still runs on which it turned ill. If not, the hardware was reset since.
    pub is_of_this_boot: bool,
}

/// Something that is wrong, and lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// What it is.
    pub fault: Fault,
    /// The line of the kernel's log that said so, unless it is very long.
    pub line: Option<String>,
    /// Since when, if that is known.
    pub since: Option<Instant>,
    /// Since when all probes were good, where that counts.
    pub good_since: Option<Instant>,
}
