//! What is offered of a resource at one moment: the only thing that servers see.

use std::sync::Arc;

use crate::model::{
    action::Actions,
    allocation::{Compat, Policy},
    device::Device,
    name::{DeviceId, ResourceName},
};

/// A verdict on a device, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// May be allocated.
    Healthy,
    /// Counts towards capacity but not towards allocatable.
    Unhealthy {
        /// A phrase, without a full stop.
        reason: String,
    },
}

impl Health {
    /// The kubelet's word for it (`Healthy` and `Unhealthy` in the device plugin API).
    pub fn word(&self) -> &'static str {
        match self {
            Health::Healthy => "Healthy",
            Health::Unhealthy { .. } => "Unhealthy",
        }
    }
}

/// One entry of the kubelet's list: a device, or one replica of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the kubelet calls it.
    pub id: DeviceId,
    /// The hardware behind it.
    pub device: Arc<Device>,
    /// Which replica, from 0.
    pub replica: u32,
    /// May it be allocated?
    pub health: Health,
    /// What the kubelet is told; `None` as well where the operator wants no hints.
    pub numa_node: Option<u32>,
}

/// All offers of a resource. Immutable once published; share it by [`Arc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The resource.
    pub resource: ResourceName,
    /// Grows by one with each publication.
    pub generation: u64,
    /// Sorted by id.
    pub offers: Vec<Offer>,
    /// How many offers one container may have.
    pub max_per_container: Option<u32>,
    /// Which of them a container should have.
    pub preference: Preference,
    /// What is done to a device before a container starts with it.
    pub pre_start: Arc<Actions>,
    /// Whether a CDI spec of ours, which is written, has their nodes and mounts.
    pub is_in_spec: bool,
    /// Whose variables a container should find.
    pub compat: Option<Compat>,
}

/// What decides which devices are given to a container where there is a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preference {
    /// What is good for those that are given together, and for those that are left.
    pub policy: Policy,
    /// They should be near to one of these, before all that `policy` says. Empty where that does not matter.
    pub near: Vec<Arc<Device>>,
}

impl Snapshot {
    /// Looks up one offer.
    pub fn get(&self, id: &str) -> Option<&Offer> {
        let idx = self.offers.binary_search_by(|offer| offer.id.as_str().cmp(id)).ok()?;
        self.offers.get(idx)
    }
}
