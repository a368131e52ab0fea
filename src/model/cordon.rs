//! What an operator says of devices: which are out of use, and which may be used again.

use crate::model::name::{DeviceId, ResourceName};

/// All that operators have said, across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// What is out of use.
    pub cordons: Vec<Cordon>,
    /// What may be used again whatever was wrong with it, the latest last.
    pub clearances: Vec<Clearance>,
}

/// An operator says, once, that a device may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearance {
    /// The device, by the id of the hardware.
    pub device: DeviceId,
    /// The resource, where it is cleared in one only.
    pub resource: Option<ResourceName>,
    /// Tells it from every other, so that a daemon heeds it once.
    pub token: String,
}

impl Clearance {
    /// Whether it is about this device.
    pub fn is_about(&self, resource: &ResourceName, device: &DeviceId) -> bool {
        self.device == *device && self.resource.as_ref().is_none_or(|it| it == resource)
    }
}

/// A device that an operator has taken out of use, without touching the hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cordon {
    /// The device, by the id of the hardware.
    pub device: DeviceId,
    /// The resource, where an id is to be cordoned in one only.
    pub resource: Option<ResourceName>,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Cordon {
    /// Whether it is about this device.
    pub fn is_about(&self, resource: &ResourceName, device: &DeviceId) -> bool {
        self.device == *device && self.resource.as_ref().is_none_or(|it| it == resource)
    }
}
