//! A device that an operator has taken out of use.

use crate::model::name::{DeviceId, ResourceName};

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
