//! What is offered of a resource at one moment: the only thing that servers see.

use std::sync::Arc;

use crate::model::{
    action::Actions,
    allocation::{Compat, Policy},
    device::Device,
    health::{Finding, Severity},
    name::{DeviceId, ResourceName},
};

/// A verdict on a device, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// May be allocated.
    Healthy,
    /// May be allocated, though something is wrong with it.
    Degraded(Finding),
    /// Counts towards capacity but not towards allocatable.
    Unhealthy(Finding),
}

impl Health {
    /// One that is not offered, of which there is no more to say than the reason.
    pub fn unhealthy(reason: impl Into<String>) -> Health {
        Health::Unhealthy(Finding::new(reason))
    }

    /// May it be allocated?
    pub fn is_offered(&self) -> bool {
        match self {
            Health::Healthy | Health::Degraded(_) => true,
            Health::Unhealthy(_) => false,
        }
    }

    /// What is wrong, if anything is.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Health::Healthy => None,
            Health::Degraded(finding) | Health::Unhealthy(finding) => Some(finding),
        }
    }

    /// How bad it is, if anything is wrong.
    pub fn severity(&self) -> Option<Severity> {
        match self {
            Health::Healthy => None,
            Health::Degraded(_) => Some(Severity::Degraded),
            Health::Unhealthy(_) => Some(Severity::Ill),
        }
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Health::Healthy => "Healthy",
            Health::Degraded(_) => "Degraded",
            Health::Unhealthy(_) => "Unhealthy",
        }
    }

    /// The kubelet's word for it: the device plugin API has two only.
    pub fn kubelet_word(&self) -> &'static str {
        match self.is_offered() {
            true => "Healthy",
            false => "Unhealthy",
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
