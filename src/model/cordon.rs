//! What an operator says of devices: which are out of use, which may be used again, and which are to be taken for
//! ill for a while.

use std::time::Instant;

use crate::model::{
    health::Consequence,
    name::{DeviceId, ResourceName},
};

/// All that operators have said, across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// What is out of use.
    pub cordons: Vec<Cordon>,
    /// What may be used again whatever was wrong with it, the latest last.
    pub clearances: Vec<Clearance>,
    /// What is to be taken for wrong, the latest last.
    pub injections: Vec<Injection>,
}

/// A fault that an operator wants to be taken for real for a while, to see what others do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The device, by the id of the hardware.
    pub device: DeviceId,
    /// The resource, where it is meant in one only.
    pub resource: Option<ResourceName>,
    /// What it would mean for the device.
    pub consequence: Consequence,
    /// Why, in the operator's words.
    pub reason: String,
    /// The boot of the machine in which it ends.
    pub boot: String,
    /// When it ends, in milliseconds since the machine was started: no change of the date moves that.
    pub until_ms: u64,
}

/// The same where it has not ended yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// The device, by the id of the hardware.
    pub device: DeviceId,
    /// The resource, where it is meant in one only.
    pub resource: Option<ResourceName>,
    /// What it would mean for the device.
    pub consequence: Consequence,
    /// Why, in the operator's words.
    pub reason: String,
    /// When it ends.
    pub until: Instant,
}

impl Injected {
    /// Whether it is about this device.
    pub fn is_about(&self, resource: &ResourceName, device: &DeviceId) -> bool {
        self.device == *device && self.resource.as_ref().is_none_or(|it| it == resource)
    }
}

/// An operator says something of a device, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearance {
    /// The device, by the id of the hardware.
    pub device: DeviceId,
    /// The resource, where it is cleared in one only.
    pub resource: Option<ResourceName>,
    /// Tells it from every other, so that a daemon heeds it once.
    pub token: String,
    /// What is said.
    pub said: Said,
}

/// What an operator says of a device, once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// It may be used again.
    #[default]
    Cleared,
    /// It was removed and will not come back, and no pod holds it.
    Forgotten,
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
