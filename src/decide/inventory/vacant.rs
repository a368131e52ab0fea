//! Resources that were named after devices, when the last of these is gone for good.
//!
//! Names come from hardware: each costs a plugin with its thread and descriptors, and hardware may call
//! itself anything. A kubelet that loses a plugin with an empty list keeps the resource at 0 and forgets
//! it after five minutes, and takes it up again when it registers again.

use std::time::{Duration, Instant};

use crate::{
    decide::inventory::{Inventory, Served},
    model::{event::Effect, name::ResourceName, resource::NamePattern},
};

/// How long such a resource is served without a device: what is plugged in again, or starts anew, needs
/// no registration.
const VACANT: Duration = Duration::from_secs(60);

impl Inventory {
    /// Retires what was named after devices, has had none for a while, and of which no pod holds any. When
    /// a device of that name comes, it is served anew.
    pub(super) fn retire_vacant(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let resources = &self.resources;
        for served in self.served.values_mut() {
            let name = resources.get(served.config_idx).map(|it| &it.name);
            let is_named_after = matches!(name, Some(NamePattern::Template(_)));
            served.retire_at = match is_named_after && served.is_vacant() {
                true => Some(served.retire_at.unwrap_or(now + VACANT)),
                false => None,
            };
        }
        let is_over = |it: &Served| it.retire_at.is_some_and(|at| at <= now);
        let retired = self.served.iter().filter(|(_, it)| is_over(it));
        let retired: Vec<ResourceName> = retired.map(|(name, _)| name.clone()).collect();
        for name in &retired {
            log::info!("resource={name} has had no device for {VACANT:?}, and is served no more");
            self.retire(name);
            effects.push(Effect::Retire(name.clone()));
        }
        if !retired.is_empty() {
            effects.extend(self.retarget());
        }
    }
}

impl Served {
    /// Whether there is no device, and none in the list: those that pods may hold are in it.
    fn is_vacant(&self) -> bool {
        self.devices.is_empty() && self.listing.is_empty()
    }
}
