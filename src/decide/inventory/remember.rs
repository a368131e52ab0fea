//! What must outlive the process: which hardware has which id, and what the kubelet was told.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    decide::inventory::{Inventory, Served},
    model::{
        event::Effect,
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Remembered, RememberedDevice, RememberedDevices},
    },
};

/// How many devices of a resource are remembered though nobody can hold them: their ids stay theirs.
const FREE_MAX: usize = 1024;

impl Inventory {
    /// The process before this one has left this.
    pub(super) fn remembered(&mut self, remembered: Remembered) {
        self.remembered = Arc::new(remembered);
    }

    /// This is on disk now.
    pub(super) fn stored(&mut self, remembered: &Remembered) {
        for (name, served) in &mut self.served {
            if let Some(devices) = remembered.get(name) {
                served.listing.stored(Arc::clone(devices));
            }
        }
    }

    /// What is remembered of a resource; of one that is not served it is what was written before.
    pub(super) fn remembered_of(&self, name: &ResourceName) -> Arc<RememberedDevices> {
        self.remembered.get(name).cloned().unwrap_or_default()
    }

    /// Has what is remembered of these resources written down, unless it is what was written last.
    pub(super) fn remember(&mut self, names: &[ResourceName], effects: &mut Vec<Effect>) {
        let mut remembered = Remembered::clone(&self.remembered);
        let mut has_changed = false;
        for name in names {
            let Some(served) = self.served.get(name) else { continue };
            let before = self.remembered_of(name);
            let now = served.remember(&before);
            if *before != now {
                has_changed = true;
                remembered.insert(name.clone(), Arc::new(now));
            }
        }
        if has_changed {
            self.remembered = Arc::new(remembered);
            effects.push(Effect::Remember(Arc::clone(&self.remembered)));
        }
    }
}

impl Served {
    fn remember(&self, before: &RememberedDevices) -> RememberedDevices {
        let mut all: RememberedDevices = BTreeMap::new();
        for (id, device) in self.listing.told() {
            let it = all.entry(device.clone()).or_insert_with(|| {
                let before = before.get(device).cloned().unwrap_or_default();
                RememberedDevice { offers: Vec::new(), unhealthy: None, ..before }
            });
            it.offers.push(id.clone());
        }
        for viewed in self.devices.view() {
            let Some(it) = all.get_mut(&viewed.device.id) else { continue };
            if let Health::Unhealthy { reason } = viewed.health {
                it.unhealthy = Some(reason.clone());
            }
            if viewed.is_present && !viewed.is_settling {
                it.hardware = Some(viewed.device.hardware.clone());
                it.n_parts = viewed.device.n_parts();
            }
        }
        let is_free = |(id, it): &(&DeviceId, &RememberedDevice)| {
            it.hardware.is_some() && !all.contains_key(*id)
        };
        let free: Vec<(DeviceId, RememberedDevice)> = before
            .iter()
            .filter(is_free)
            .take(FREE_MAX)
            .map(|(id, it)| {
                let it = RememberedDevice { offers: Vec::new(), unhealthy: None, ..it.clone() };
                (id.clone(), it)
            })
            .collect();
        all.extend(free);
        all
    }
}
